"""Follows docs/write-a-projection.md as a newcomer would: puts its blocks into a copy of the checkout and runs them."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually
from tests.support.worlds.checkout import change, copy_checkout
from tests.support.worlds.ridelog import ridelog as running

PAGE = ROOT / "docs" / "write-a-projection.md"
BLOCK = re.compile(r"```python\n# (?P<path>\S+)\n(?P<code>.*?)```", re.DOTALL)


def follow_the_page(folder: Path) -> Path:
    """Copy the checkout and add the page's files and its line in the catalogue."""
    copy_checkout(folder)
    blocks = {match["path"]: match["code"] for match in BLOCK.finditer(PAGE.read_text())}
    assert len(blocks) == 5
    for path, code in blocks.items():
        (folder / path).write_text(code)
    catalogue = folder / "projections" / "catalogue.py"
    imported = "from projections.longest_silence import LONGEST_SILENCE\n"
    change(catalogue, "from projections.core.projection", f"{imported}from projections.core.projection")
    change(catalogue, "        SPEED,\n", "        LONGEST_SILENCE,\n        SPEED,\n")
    return folder


def python(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=scaled_s(120),
        check=False,
    )


def test_the_page_makes_a_projection_that_runs(tmp_path: Path) -> None:
    folder = follow_the_page(tmp_path / "checkout")
    tests = python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/test_longest_silence.py")
    assert tests.returncode == 0, tests.stdout
    assert "3 passed" in tests.stdout
    now_ms = time.time_ns() // 1_000_000
    with running(tmp_path / "data", folder) as ridelog:
        ridelog.post(
            [
                {"rider_id": "anna", "latitude": 52.5, "longitude": 13.4, "event_timestamp_ms": now_ms - ago_s * 1000}
                for ago_s in (100, 40, 60, 0)
            ]
        )
        eventually(
            lambda: "anna 40.0" in python(folder, "silences.py", env=ridelog.env).stdout.splitlines(),
            within_s=30,
            every_s=0.5,
            what="the longest silence of anna is served",
        )
        assert "longest_silence" in ridelog.cli("status").stdout
        # Section 6: another number of kept pings is another fold; for so few pings the result is the same.
        change(folder / "domain" / "features" / "longest_silence.py", "KEPT_INSTANTS = 20", "KEPT_INSTANTS = 50")
        change(folder / "projections" / "longest_silence.py", "fold_version=1", "fold_version=2")
        changed = ridelog.cli("rebuild-projection", "longest_silence", "--verify-only")
        assert changed.returncode == 0, changed.stdout + changed.stderr
