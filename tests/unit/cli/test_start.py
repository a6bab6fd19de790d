"""The start of the command line loads no server libraries, so that every command starts fast."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.servers.serving import ROOT

# The metrics must also wait until ``process`` has set the directory that the processes share.
LAZY = ("sqlalchemy", "redis", "confluent_kafka", "eventsourcing", "prometheus_client", "rich.table")

CODE = f"""
import sys
from infrastructure.cli import build
build()
print(*[name for name in {LAZY!r} if name in sys.modules])
"""

# ``serve`` is forked before its programs set that directory, and every fork has the modules that it has.
SERVE = """
import sys
import infrastructure.kafka.topics, infrastructure.processes.preload, infrastructure.supervision.serve
import infrastructure.supervision.service_commands
print(*[name for name in ("prometheus_client", "confluent_kafka", "litestar") if name in sys.modules])
"""


@pytest.mark.parametrize("code", [CODE, SERVE], ids=["command line", "serve"])
def test_a_start_loads_no_library_that_must_wait(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
