"""The start of the command line loads no server libraries, so that every command starts fast."""

from __future__ import annotations

import subprocess
import sys

from tests.support.servers.serving import ROOT

# The metrics must also wait until ``process`` has set the directory that the processes share.
LAZY = ("sqlalchemy", "redis", "confluent_kafka", "eventsourcing", "prometheus_client", "rich.table")

CODE = f"""
import sys
from infrastructure.cli import build
build()
print(*[name for name in {LAZY!r} if name in sys.modules])
"""


def test_building_the_command_line_loads_no_server_library() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
