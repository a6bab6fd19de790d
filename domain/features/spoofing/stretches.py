"""The detectors that look at a stretch of the track at once: they run when the window is new, or at a jump.

To keep their sums for each ping would cost more than all else in this fold.
"""

from __future__ import annotations

from domain.features.case_file import MAX_WINDOW_FIXES
from domain.features.spoofing.fixes import track_of, ways_mm
from domain.features.spoofing.motion import Comparison, Habit, frozen_runs, implied_speeds
from domain.features.spoofing.regularity import regular_runs
from domain.features.spoofing.state import Note

STRETCH_FIXES = MAX_WINDOW_FIXES - 1
"""New fixes of a stretch: with the one before them, all that the window holds. Two minutes or more."""


def checked(window: bytes, unchecked: int, habit: Habit) -> tuple[list[Note], Habit]:
    """The notes of the last ``unchecked`` fixes of the window, and the phone's habit after them."""
    fixes = track_of(window)[-(unchecked + 1) :]
    ways = ways_mm(fixes)
    # A position that is repeated is a way of 0.
    frozen = list(frozen_runs(fixes)) if 0 in ways else []
    speeds, habit = implied_speeds(fixes, ways, habit)
    notes = [_note(one) for one in frozen]
    # A frozen position is no way either: it is one signal, not two.
    notes += [_note(one) for one in speeds if not any(one.start_ms <= run.end_ms for run in frozen)]
    notes += [Note(finding) for finding in regular_runs(fixes, ways)]
    return notes, habit


def _note(one: Comparison) -> Note:
    return Note(one.finding, "motion", None if one.finding is not None else one.end_ms)
