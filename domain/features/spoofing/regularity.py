"""Readings that are too regular for a receiver: one speed and accuracy in fix after fix, or the very same step.

Intervals alone say nothing: receivers keep the second. Nor does a constant accuracy: an iPhone of MobilityNet says 10 m
in 1,046 fixes on end.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.features.spoofing.fixes import Fix
from domain.features.spoofing.signals import CONSTANT_READINGS, REGULAR_STEPS, Finding

REGULAR_STEPS_ON_END = 19
REGULAR_MS = 20_000
"""Twenty fixes on end, over 20 s. The longest such runs of MobilityNet, Dublin and the taxis have 7 fixes."""

MIDDLE_STEP = REGULAR_STEPS_ON_END - 1
"""Each run of a track with fewer than twice as many steps has this one."""

MIN_STEP_MM = 500
"""Steps of a moving rider. At rest a phone may repeat its readings."""

STEP_TOLERANCE_E7 = 3
"""3 cm, the rounding of a client that writes seven decimals. No receiver repeats a step to the centimetre."""

INTERVAL_TOLERANCE_MS = 2


def regular_runs(fixes: Sequence[Fix], ways: Sequence[int]) -> list[Finding]:
    """The runs that are too regular. ``ways`` are the distances between the fixes, in mm."""
    if not _may_be_regular(fixes, ways):
        return []
    findings: list[Finding] = []
    readings = steps = 0
    north_before, east_before, ms_before = 0, 0, 0
    for at, (a, b, mm) in enumerate(zip(fixes, fixes[1:], ways, strict=False)):
        north, east, ms = b[1] - a[1], b[2] - a[2], b[0] - a[0]
        is_moving = mm >= MIN_STEP_MM
        if is_moving and a[4] == b[4] > 0 and a[3] == b[3]:
            readings += 1
        else:
            if readings >= REGULAR_STEPS_ON_END:
                findings += _constant(fixes[at - readings : at + 1])
            readings = 0
        if (
            is_moving
            and -STEP_TOLERANCE_E7 <= north - north_before <= STEP_TOLERANCE_E7
            and -STEP_TOLERANCE_E7 <= east - east_before <= STEP_TOLERANCE_E7
            and -INTERVAL_TOLERANCE_MS <= ms - ms_before <= INTERVAL_TOLERANCE_MS
        ):
            steps += 1
        else:
            if steps >= REGULAR_STEPS_ON_END:
                findings += _equal(fixes[at - steps : at + 1], ways[at - 1])
            steps = 0
        north_before, east_before, ms_before = north, east, ms
    if readings >= REGULAR_STEPS_ON_END:
        findings += _constant(fixes[-readings - 1 :])
    if steps >= REGULAR_STEPS_ON_END:
        findings += _equal(fixes[-steps - 1 :], ways[-1])
    return findings


def _may_be_regular(fixes: Sequence[Fix], ways: Sequence[int]) -> bool:
    """Whether a run may be long enough: of fewer than twice its steps, each run has the same step in the middle."""
    if len(ways) < REGULAR_STEPS_ON_END:
        return False
    if len(ways) >= 2 * REGULAR_STEPS_ON_END:
        return True
    return ways[MIDDLE_STEP] >= MIN_STEP_MM and is_regular(*fixes[MIDDLE_STEP - 1 : MIDDLE_STEP + 2])


def is_regular(before: Fix, a: Fix, b: Fix) -> bool:
    """Whether the step from ``a`` to ``b`` may be part of a run, if it is one of a moving rider."""
    if a[4] == b[4] > 0 and a[3] == b[3]:
        return True
    return (
        abs(b[1] - 2 * a[1] + before[1]) <= STEP_TOLERANCE_E7
        and abs(b[2] - 2 * a[2] + before[2]) <= STEP_TOLERANCE_E7
        and abs(b[0] - 2 * a[0] + before[0]) <= INTERVAL_TOLERANCE_MS
    )


def _constant(run: Sequence[Fix]) -> list[Finding]:
    ms = run[-1].t_ms - run[0].t_ms
    measured = (("fixes", len(run)), ("seconds", ms / 1_000), ("speed_mps", run[0].speed_mm_s / 1_000))
    return [Finding(CONSTANT_READINGS, run[0].t_ms, run[-1].t_ms, measured)] if ms >= REGULAR_MS else []


def _equal(run: Sequence[Fix], step_mm: int) -> list[Finding]:
    ms = run[-1].t_ms - run[0].t_ms
    measured = (("steps", len(run) - 1), ("seconds", ms / 1_000), ("step_m", round(step_mm / 1_000, 2)))
    return [Finding(REGULAR_STEPS, run[0].t_ms, run[-1].t_ms, measured)] if ms >= REGULAR_MS else []
