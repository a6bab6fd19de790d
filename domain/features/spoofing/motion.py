"""The device's own speed, by the Doppler shift of the satellites, against the way between its positions.

A phone that never knows its speed, or says 0 while it moves, is not compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from domain.features.spoofing.fixes import FASTEST_MM_PER_MS, NO_FIX, Fix, distance_mm, is_possible
from domain.features.spoofing.signals import FROZEN_POSITION, IMPLIED_SPEED, Finding

WORST_ERROR_MM = 100_000
"""Fixes of 33 m accuracy and better, and those without accuracy. Under worse ones the way is noise."""

MOVING_MM_PER_MS = 3
MIN_MOVING_STEPS = 5
SPEAKING_PART = 10
"""A window with five moving steps or more is speaking if at most one of ten had no speed of the device, else silent."""

RELIABLE_WINDOWS, MAX_WINDOWS = 4, 100
SILENT_WINDOWS, SILENT_PART = 3, 4
"""An unknown speed claims rest only on a phone of four speaking windows, and of three silent ones, or one for four
speaking. The last of them may be the beginning of what is forged. A phone of MobilityNet says 0 in half of its moving
steps: it is silent in window after window."""


class Habit(NamedTuple):
    """How many windows, in which the phone moved, had the device's speed, and how many had not; the latest 100."""

    speaking: int
    silent: int

    @property
    def is_reliable(self) -> bool:
        return self.speaking >= RELIABLE_WINDOWS and self.silent <= max(SILENT_WINDOWS, self.speaking // SILENT_PART)


NO_HABIT = Habit(0, 0)


def with_window(habit: Habit, known: int, unknown: int) -> Habit:
    """The habit after a window with so many moving steps with and without a speed."""
    if known + unknown < MIN_MOVING_STEPS:
        return habit
    speaking, silent = habit
    if unknown * SPEAKING_PART <= known + unknown:
        speaking += 1
    else:
        silent += 1
    return Habit(speaking // 2, silent // 2) if speaking + silent > MAX_WINDOWS else Habit(speaking, silent)


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


class _Sums(NamedTuple):
    """The sums of a stretch in mm: the way, the least and the most that the device's speed gives."""

    way_mm: int
    least_mm: int
    most_mm: int


def implied_speeds(fixes: Sequence[Fix], ways: Sequence[int], habit: Habit) -> tuple[list[Comparison], Habit]:
    """The comparisons of a track in stretches of two minutes, and the phone's habit after them."""
    compared: list[Comparison] = []
    first: Fix | None = None
    is_reliable = habit.is_reliable
    way_mm = least_mm = most_mm = known = unknown = 0
    # Each fix is unpacked once: this loop runs over most pings of a rider.
    b = fixes[0] if fixes else NO_FIX
    b_ms, b_north, b_east, b_error, b_speed, _ = b
    for after, mm in zip(fixes[1:], ways, strict=False):
        a, a_ms, a_north, a_east, a_error, a_speed = b, b_ms, b_north, b_east, b_error, b_speed
        b = after
        b_ms, b_north, b_east, b_error, b_speed, _ = b
        ms, slower, faster = b_ms - a_ms, a_speed, b_speed
        if slower > faster:
            slower, faster = faster, slower
        if (
            ms > LONGEST_STEP_MS
            or a_error > WORST_ERROR_MM
            or b_error > WORST_ERROR_MM
            or (mm > FASTEST_MM_PER_MS * ms and not is_possible(a, b, mm))
        ):
            first = None
            continue
        if a_north == b_north and a_east == b_east:
            first = None  # one old fix that is sent again, with its old speed, or a frozen position: see below
            continue
        if mm >= MOVING_MM_PER_MS * ms:
            known, unknown = known + (slower > 0), unknown + (slower <= 0)
        if slower <= 0 and not is_reliable:
            first = None
            continue
        if first is None:
            first, way_mm, least_mm, most_mm = a, 0, 0, 0
        way_mm += mm
        least_mm += slower * ms // 1_000 if slower > 0 else 0
        most_mm += faster * ms // 1_000 if faster > 0 else 0
        if b_ms - first[0] >= STRETCH_MS:
            finding = _compared(first, b, _Sums(way_mm, least_mm, most_mm))
            compared.append(Comparison(first[0], b_ms, finding))
            first = None
    # Forged positions say nothing of the phone's habit.
    is_forged = any(one.finding is not None for one in compared)
    return compared, habit if is_forged else with_window(habit, known, unknown)


def _compared(first: Fix, last: Fix, sums: _Sums) -> Finding | None:
    ms = last.t_ms - first.t_ms
    moved_mm = distance_mm(first.latitude_e7, first.longitude_e7, last.latitude_e7, last.longitude_e7)
    is_slow = sums.least_mm >= MIN_DEVICE_MM_PER_MS * ms and sums.way_mm * SLOW_FACTOR <= sums.least_mm
    excess_mm = EXCESS_MM + first.error_mm + last.error_mm
    if not is_slow and moved_mm < FAST_FACTOR * sums.most_mm + excess_mm:
        return None
    measured = (
        ("claims", "motion" if is_slow else "rest"),
        ("seconds", ms / 1_000),
        ("way_m", sums.way_mm // 1_000),
        ("displacement_m", moved_mm // 1_000),
        ("device_least_m", sums.least_mm // 1_000),
        ("device_most_m", sums.most_mm // 1_000),
    )
    return Finding(IMPLIED_SPEED, first.t_ms, last.t_ms, measured)


# Frozen positions

FROZEN_FIXES = 5
FROZEN_MS = 20_000
FROZEN_MM = 100_000
FROZEN_SPEED_MM_S = 1_000
FROZEN_SPEED_CHANGES = 3
"""Five fixes at one position to the last bit, over 20 s, while the device claims 100 m at 1 m/s or more, in speeds that
change: a speed that does not is part of one old fix that is sent again. The longest such run of MobilityNet has two."""

LONGEST_FROZEN_STEP_MS = 120_000


def frozen_runs(fixes: Sequence[Fix]) -> Iterator[Comparison]:
    """The runs at one position that are signals. One that is not the end of ``fixes`` is followed by its agreement."""
    at = 0
    while at < len(fixes):
        end = at + 1
        _, latitude, longitude, _, _, _ = fixes[at]
        while end < len(fixes) and fixes[end][1] == latitude and fixes[end][2] == longitude:
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
