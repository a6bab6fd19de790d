"""The device's own speed, by the Doppler shift of the satellites, against the way between its positions.

A phone that never knows its speed, or says 0 while it moves, is not compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from domain.features.spoofing.fixes import Fix, distance_mm, is_possible
from domain.features.spoofing.signals import FROZEN_POSITION, IMPLIED_SPEED, Finding

WORST_ERROR_MM = 100_000
"""Fixes of 33 m accuracy and better, and those without accuracy. Under worse ones the way is noise."""

MOVING_MM_PER_MS = 3
RELIABLE_STEPS, MAX_STEPS = 50, 500
UNRELIABLE_PART = 25
"""An unknown speed claims rest only on a phone that knew its speed in 50 moving steps, and did not in at most one of
25 more. One of MobilityNet's phones says 0 in half of its moving steps."""


class Habit(NamedTuple):
    """How many moving steps had a speed of the device, and how many had none: the latest 500 count most."""

    known: int
    unknown: int

    @property
    def is_reliable(self) -> bool:
        return self.known >= RELIABLE_STEPS and self.unknown * UNRELIABLE_PART <= self.known


NO_HABIT = Habit(0, 0)


MAX_UNKNOWN = 2
"""So many steps without a speed count of one window. More would let one forged minute make the phone look unreliable;
a phone that is unreliable shows it in window after window."""


def with_steps(habit: Habit, known: int, unknown: int) -> Habit:
    """The habit after the moving steps of a window."""
    known, unknown = habit.known + known, habit.unknown + min(unknown, MAX_UNKNOWN)
    return Habit(known // 2, unknown // 2) if max(known, unknown) > MAX_STEPS else Habit(known, unknown)


class Comparison(NamedTuple):
    """What a stretch of the track said: that it disagrees with the device (``finding``), or that it agrees."""

    start_ms: int
    end_ms: int
    finding: Finding | None


# Implied speed

STRETCH_MS = 110_000
LONGEST_STEP_MS = 15_000
"""Between fixes further apart the speed may have been any."""

MIN_DEVICE_MM_PER_MS = 2
SLOW_FACTOR, FAST_FACTOR = 2, 2
"""The device claims 2 m/s or more, and the way is at most half of that; or the displacement is twice what its speed can
give. Over a minute the way is 0.92 to 1.31 of it on MobilityNet, and 0.82 to 1.75 on Dublin."""

EXCESS_MM = 100_000
"""And more than 100 m beyond it, error bounds taken off."""


class _Sums:
    """The sums of a stretch in mm: the way, the least and the most that the device's speed gives."""

    def __init__(self, first: Fix) -> None:
        self.first = first
        self.way_mm = self.least_mm = self.most_mm = 0

    def add(self, a: Fix, b: Fix, mm: int) -> None:
        ms, slower, faster = b.t_ms - a.t_ms, min(a.speed_mm_s, b.speed_mm_s), max(a.speed_mm_s, b.speed_mm_s)
        self.way_mm += mm
        self.least_mm += max(slower, 0) * ms // 1_000
        self.most_mm += max(faster, 0) * ms // 1_000

    def compared(self, last: Fix) -> Finding | None:
        first, ms = self.first, last.t_ms - self.first.t_ms
        moved_mm = distance_mm(first.latitude_e7, first.longitude_e7, last.latitude_e7, last.longitude_e7)
        is_slow = self.least_mm >= MIN_DEVICE_MM_PER_MS * ms and self.way_mm * SLOW_FACTOR <= self.least_mm
        excess_mm = EXCESS_MM + first.error_mm + last.error_mm
        if not is_slow and moved_mm < FAST_FACTOR * self.most_mm + excess_mm:
            return None
        measured = (
            ("claims", "motion" if is_slow else "rest"),
            ("seconds", ms / 1_000),
            ("way_m", self.way_mm // 1_000),
            ("displacement_m", moved_mm // 1_000),
            ("device_least_m", self.least_mm // 1_000),
            ("device_most_m", self.most_mm // 1_000),
        )
        return Finding(IMPLIED_SPEED, first.t_ms, last.t_ms, measured)


def implied_speeds(fixes: Sequence[Fix], habit: Habit) -> tuple[list[Comparison], Habit]:
    """The comparisons of a track in stretches of two minutes, and the phone's habit after them."""
    compared: list[Comparison] = []
    sums: _Sums | None = None
    known = unknown = 0
    for a, b in pairwise(fixes):
        ms = b.t_ms - a.t_ms
        mm = distance_mm(a.latitude_e7, a.longitude_e7, b.latitude_e7, b.longitude_e7)
        if ms > LONGEST_STEP_MS or max(a.error_mm, b.error_mm) > WORST_ERROR_MM or not is_possible(a, b, mm):
            sums = None
            continue
        has_speed = a.speed_mm_s > 0 and b.speed_mm_s > 0
        if mm >= MOVING_MM_PER_MS * ms:
            known, unknown = known + has_speed, unknown + (not has_speed)
        if not has_speed and not habit.is_reliable:
            sums = None
            continue
        sums = sums or _Sums(a)
        sums.add(a, b, mm)
        if b.t_ms - sums.first.t_ms >= STRETCH_MS:
            compared.append(Comparison(sums.first.t_ms, b.t_ms, sums.compared(b)))
            sums = None
    # Forged positions say nothing of the phone's habit.
    is_forged = any(one.finding is not None for one in compared)
    return compared, habit if is_forged else with_steps(habit, known, unknown)


# Frozen positions

FROZEN_FIXES = 5
FROZEN_MS = 20_000
FROZEN_MM = 100_000
FROZEN_SPEED_MM_S = 2_000
FROZEN_SPEED_CHANGES = 3
"""Five fixes at one position to the last bit, over 20 s, while the device claims 100 m at 2 m/s or more, in speeds that
change: a speed that does not is part of one old fix that is sent again. The longest such run of MobilityNet has two."""

LONGEST_FROZEN_STEP_MS = 120_000


def frozen_runs(fixes: Sequence[Fix]) -> Iterator[Comparison]:
    """The runs at one position that are signals. One that is not the end of ``fixes`` is followed by its agreement."""
    at = 0
    while at < len(fixes):
        end = at + 1
        while end < len(fixes) and fixes[end][1:3] == fixes[at][1:3]:
            end += 1
        finding = _frozen(fixes[at:end]) if end - at >= FROZEN_FIXES else None
        if finding is not None:
            yield Comparison(finding.start_ms, finding.end_ms, finding)
            if end < len(fixes):
                yield Comparison(finding.start_ms, finding.end_ms, None)
        at = end


def _frozen(run: Sequence[Fix]) -> Finding | None:
    claimed_mm = changes = 0
    for a, b in pairwise(run):
        ms, speed = b.t_ms - a.t_ms, min(a.speed_mm_s, b.speed_mm_s)
        is_good = max(a.error_mm, b.error_mm) <= WORST_ERROR_MM
        if is_good and speed >= FROZEN_SPEED_MM_S and ms <= LONGEST_FROZEN_STEP_MS:
            claimed_mm += speed * ms // 1_000
            changes += a.speed_mm_s != b.speed_mm_s
    ms = run[-1].t_ms - run[0].t_ms
    if claimed_mm < FROZEN_MM or changes < FROZEN_SPEED_CHANGES or ms < FROZEN_MS:
        return None
    measured = (
        ("fixes", len(run)),
        ("seconds", ms / 1_000),
        ("device_least_m", claimed_mm // 1_000),
        ("speed_changes", changes),
    )
    return Finding(FROZEN_POSITION, run[0].t_ms, run[-1].t_ms, measured)
