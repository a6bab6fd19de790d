"""The numbers in "Try a new definition safely" of docs/time-travel.md: with others its steps end in a refusal."""

from __future__ import annotations

import re
from pathlib import Path

from domain.features.speed.window import WINDOW_PINGS
from projections.speed import SPEED

PAGE = Path(__file__).resolve().parents[3] / "docs" / "time-travel.md"


def test_the_page_raises_the_fold_version_and_changes_the_window() -> None:
    # With the present number, a rebuild finds two results of one version and does not accept their differences.
    (step,) = re.findall(
        r"window\.py: WINDOW_PINGS = (\d+); in projections/speed\.py: fold_version=(\d+)", PAGE.read_text()
    )
    assert int(step[0]) != WINDOW_PINGS
    assert int(step[1]) == SPEED.fold_version + 1
