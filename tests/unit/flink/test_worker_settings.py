"""A Python worker of Flink folds as ``serve`` does, whatever its machine has."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

from tests.support.servers.serving import ROOT

WORKER = """
from infrastructure.flink.worker_settings import worker_settings
worker_settings(needed=())
from domain.features.eta.local_time import local_time
print(local_time("America/Mexico_City", 1_790_000_000_000).time_of_day_h)
"""


def test_regression_a_worker_has_the_packaged_rules_of_time_zones(tmp_path: Path) -> None:
    """Given a machine with older rules, when a worker has read its settings, then its local hour is that of `serve`."""
    zone = tmp_path / "America" / "Mexico_City"
    zone.parent.mkdir()
    zone.write_bytes(resources.files("tzdata").joinpath("zoneinfo", "Etc", "GMT+5").read_bytes())
    environment = {"PATH": os.environ["PATH"], "PYTHONTZPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "8.2222\n"
