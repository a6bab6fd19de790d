"""The detectors that look at a stretch of the track at once: they run when the window is new, or at a jump.

To keep their sums for each ping would cost more than all else in this fold.
"""

from __future__ import annotations

from domain.features.case_file import MAX_WINDOW_FIXES
from domain.features.spoofing.fixes import WINDOW_FIX_BYTES, distance_mm, packed_at, track_of, unpacked_fix, ways_mm
from domain.features.spoofing.motion import Comparison, Habit, frozen_runs, implied_speeds
from domain.features.spoofing.regularity import (
    MIDDLE_STEP,
    MIN_STEP_MM,
    REGULAR_STEPS_ON_END,
    is_regular,
    regular_runs,
)
from domain.features.spoofing.state import Note

STRETCH_FIXES = MAX_WINDOW_FIXES - 1
"""New fixes of a stretch: with the one before them, all that the window holds. Two minutes or more."""


def checked(window: bytes, habit: Habit) -> tuple[list[Note], Habit]:
    """The notes of the window, and the phone's habit after it: the window is new but for one fix, or ends at a jump."""
    compared, habit, fixes, has_rest = implied_speeds(window, habit)
    notes: list[Note] = []
    if has_rest:
        # A frozen position is no way either: it is one signal, not two.
        frozen = list(frozen_runs(track_of(window)))
        notes += [_note(one) for one in frozen]
        compared = [one for one in compared if not any(one.start_ms <= run.end_ms for run in frozen)]
    notes += [_note(one) for one in compared]
    if _may_be_regular(window, fixes):
        track = track_of(window)
        notes += [Note(finding) for finding in regular_runs(track, ways_mm(track))]
    return notes, habit


def _may_be_regular(window: bytes, fixes: int) -> bool:
    """Whether a run may be long enough, by three fixes: the usual answer is no, and costs no more than that."""
    if fixes <= REGULAR_STEPS_ON_END:
        return False
    if fixes * WINDOW_FIX_BYTES != len(window):
        return True  # some came late: which ones are in the middle is not known here
    before, a, b = [unpacked_fix(packed_at(window, MIDDLE_STEP + number)) for number in (-1, 0, 1)]
    return is_regular(before, a, b) and distance_mm(a[1], a[2], b[1], b[2]) >= MIN_STEP_MM


def _note(one: Comparison) -> Note:
    return Note(one.finding, "motion", None if one.finding is not None else one.end_ms)
