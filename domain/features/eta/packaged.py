"""The baseline that ships with the code: its constants are data, in ``baseline.json`` beside it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from domain.features.eta.baseline import Baseline

PATH = Path(__file__).with_name("baseline.json")


@cache
def packaged_baseline() -> Baseline:
    """Read once a process. Raises ValueError for constants that contradict each other, OSError for a missing file."""
    return Baseline.from_json(PATH.read_text(encoding="utf-8"))
