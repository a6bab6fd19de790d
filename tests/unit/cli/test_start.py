"""The start of the command line loads no server libraries, so that every command starts fast."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

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


ZONES = """
import sys
{first}
from infrastructure.cli import main
sys.argv = ["app.py", "--help"]
try:
    main()
except SystemExit:
    pass
from domain.features.eta.local_time import local_time
print(local_time("America/Mexico_City", 1_790_000_000_000).time_of_day_h)
"""


@pytest.mark.parametrize("first", ["", "import zoneinfo"], ids=["in time", "after another library has loaded them"])
def test_regression_time_zones_are_those_of_the_package_whatever_the_machine_has(tmp_path: Path, first: str) -> None:
    """Mexico has no summer time since 2022; on a machine with older rules an ETA had another local hour."""
    zone = tmp_path / "America" / "Mexico_City"
    zone.parent.mkdir()
    zone.write_bytes(resources.files("tzdata").joinpath("zoneinfo", "Etc", "GMT+5").read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", ZONES.format(first=first)],
        cwd=ROOT,
        env=os.environ | {"PYTHONTZPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "8.2222"
