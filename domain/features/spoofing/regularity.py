"""Readings that are too regular for a receiver: one speed and accuracy in fix after fix, or the very same step.

Intervals alone say nothing: receivers keep the second. Nor does a constant accuracy: an iPhone of MobilityNet says 10 m
in 1,046 fixes on end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from domain.features.spoofing.fixes import Fix, distance_mm
from domain.features.spoofing.signals import CONSTANT_READINGS, REGULAR_STEPS, Finding

REGULAR_STEPS_ON_END = 19
REGULAR_MS = 20_000
"""Twenty fixes on end, over 20 s. The longest such runs of MobilityNet, Dublin and the taxis have 7 fixes."""

MIN_STEP_MM = 500
"""Steps of a moving rider. At rest a phone may repeat its readings."""

STEP_TOLERANCE_E7 = 3
"""3 cm, the rounding of a client that writes seven decimals. No receiver repeats a step to the centimetre."""

INTERVAL_TOLERANCE_MS = 2

_Step = tuple[Fix, Fix]


def regular_runs(fixes: Sequence[Fix]) -> Iterator[Finding]:
    """The runs that are too regular."""
    steps = list(pairwise(fixes))
    for run in _runs(steps, lambda _before, step: _same_readings(step)):
        ms = run[-1][1].t_ms - run[0][0].t_ms
        measured = (("fixes", len(run) + 1), ("seconds", ms / 1_000), ("speed_mps", run[0][0].speed_mm_s / 1_000))
        yield Finding(CONSTANT_READINGS, run[0][0].t_ms, run[-1][1].t_ms, measured)
    for run in _runs(steps, _same_step):
        ms = run[-1][1].t_ms - run[0][0].t_ms
        measured = (("steps", len(run)), ("seconds", ms / 1_000), ("step_m", round(_mm(run[0]) / 1_000, 2)))
        yield Finding(REGULAR_STEPS, run[0][0].t_ms, run[-1][1].t_ms, measured)


def _runs(steps: Sequence[_Step], is_regular: Callable[[_Step, _Step], bool]) -> Iterator[list[_Step]]:
    run: list[_Step] = []
    for before, step in pairwise(steps):
        if is_regular(before, step):
            run.append(step)
            continue
        if _is_long(run):
            yield run
        run = []
    if _is_long(run):
        yield run


def _is_long(run: Sequence[_Step]) -> bool:
    return len(run) >= REGULAR_STEPS_ON_END and run[-1][1].t_ms - run[0][0].t_ms >= REGULAR_MS


def _same_readings(step: _Step) -> bool:
    a, b = step
    same = a.speed_mm_s == b.speed_mm_s > 0 and a.error_mm == b.error_mm
    return same and _mm(step) >= MIN_STEP_MM


def _same_step(before: _Step, step: _Step) -> bool:
    (a, b), (c, d) = before, step
    north = (d.latitude_e7 - c.latitude_e7) - (b.latitude_e7 - a.latitude_e7)
    east = (d.longitude_e7 - c.longitude_e7) - (b.longitude_e7 - a.longitude_e7)
    later = (d.t_ms - c.t_ms) - (b.t_ms - a.t_ms)
    return (
        max(abs(north), abs(east)) <= STEP_TOLERANCE_E7
        and abs(later) <= INTERVAL_TOLERANCE_MS
        and _mm(step) >= MIN_STEP_MM
    )


def _mm(step: _Step) -> int:
    a, b = step
    return distance_mm(a.latitude_e7, a.longitude_e7, b.latitude_e7, b.longitude_e7)
