"""Runs ``import-pings`` against a fake server, in this process or a separate one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.http.fake_api import FakeApi
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s
from tests.support.worlds.command_line import run_here

LINES = ["rider_id,latitude,longitude,event_timestamp_ms"]
LINES += [f"anna,53.{number:03},-6.2,{1_700_000_000_000 + number * 1000}" for number in range(100)]


def import_pings(cwd: Path, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return run_here(("import-pings", *map(str, arguments)), env, cwd)


def import_pings_apart(cwd: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run in a separate process."""
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py"), "import-pings", *map(str, arguments)],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")},
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled_s(120),
    )


def imported(
    api: FakeApi,
    cwd: Path,
    *arguments: str | Path,
    by: Callable[..., subprocess.CompletedProcess[str]] = import_pings,
) -> dict[str, Any]:
    """The summary of an import that succeeds."""
    done = by(cwd, "--url", api.url, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert isinstance(summary, dict)
    assert summary["rows"] == summary["accepted"] + summary["duplicates"] + sum(summary["rejected"].values())
    return summary
