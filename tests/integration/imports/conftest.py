"""The files that the tests of imports read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.worlds.imports import LINES


@pytest.fixture
def track(tmp_path: Path) -> Path:
    path = tmp_path / "track.csv"
    path.write_text("\n".join(LINES) + "\n")
    return path


@pytest.fixture
def real_files() -> Path:
    folder = os.environ.get("RIDELOG_GPS_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("RIDELOG_GPS_DATA names no folder with real tracks")
    return Path(folder)
