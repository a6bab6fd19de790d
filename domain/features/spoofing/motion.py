"""The device's own speed, by the Doppler shift of the satellites, against the way between its positions.

A phone that never knows its speed, or says 0 while it moves, is not compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import cos, hypot
from typing import NamedTuple

from domain.features.event_time import MAX_CLOCK_SKEW_MS
from domain.features.spoofing.fixes import (
    FAR_MM,
    FASTEST_MM_PER_MS,
    GOOD_FACTOR,
    HALF_TURN_E7,
    MM_PER_E7,
    NO_PACKED_FIX,
    RADIANS_PER_E7,
    UNKNOWN_SPEED,
    Fix,
    PackedFix,
    distance_mm,
    is_possible,
    packed_fixes,
    unpacked_fix,
)
from domain.features.spoofing.signals import FROZEN_POSITION, IMPLIED_SPEED, Finding

WORST_ERROR_MM = 100_000
"""Fixes of 33 m accuracy and better, and those without accuracy. Under worse ones the way is noise."""

_BAD_ACCURACY_MM = WORST_ERROR_MM // GOOD_FACTOR + 1
"""The least accuracy, in whole mm, whose error bound is more than WORST_ERROR_MM."""

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


class WindowMotion(NamedTuple):
    """What a window says of motion: comparisons in stretches of two minutes, and the phone's habit after them.

    ``fixes`` counts those of its track. ``has_rest``: two on end have the same position.
    """

    compared: list[Comparison]
    habit: Habit
    fixes: int
    has_rest: bool


def implied_speeds(window: bytes, habit: Habit) -> WindowMotion:
    """Compare the device's speed with the way, over the track of a window."""
    # One pass over the packed fixes, which does what ``track_of`` does as it goes. It runs over most pings of a rider,
    # and to make the objects of a track costs more than all sums.
    compared: list[Comparison] = []
    first: PackedFix | None = None
    is_reliable, has_rest = habit.is_reliable, False
    count = first_ms = way_mm = least_mm = most_mm = known = unknown = 0
    b: PackedFix = NO_PACKED_FIX
    b_ms = b_north = b_east = b_speed = 0
    b_is_good = False
    for after in packed_fixes(window):
        _, sent_ms, received_ms, _, latitude, longitude, accuracy, speed, _ = after
        t_ms = received_ms if received_ms and sent_ms - received_ms > MAX_CLOCK_SKEW_MS else sent_ms
        if t_ms <= b_ms:
            continue  # it came late
        a, a_ms, a_north, a_east, a_is_good, a_speed = b, b_ms, b_north, b_east, b_is_good, b_speed
        b, b_ms, b_north, b_east = after, t_ms, round(latitude * 1e7), round(longitude * 1e7)
        # NaN is neither a bad accuracy nor a speed.
        b_is_good = not accuracy * 1_000.0 >= _BAD_ACCURACY_MM
        b_speed = int(speed * 1_000.0) if 0.0 < speed < 1e6 else UNKNOWN_SPEED
        ms = b_ms - a_ms
        count += 1
        if count == 1:
            continue
        if a_north == b_north and a_east == b_east:
            # One old fix that is sent again, with its old speed, or a frozen position: see below.
            first, has_rest = None, True
            continue
        if ms > LONGEST_STEP_MS or not (a_is_good and b_is_good):
            first = None
            continue
        turn = b_east - a_east
        # The usual case of ``distance_mm``, without its call.
        plane_mm = MM_PER_E7 * hypot(b_north - a_north, turn * cos(b_north * RADIANS_PER_E7))
        if plane_mm <= FAR_MM and -HALF_TURN_E7 <= turn <= HALF_TURN_E7:
            mm = int(plane_mm)
        else:
            mm = distance_mm(a_north, a_east, b_north, b_east)
        if mm > FASTEST_MM_PER_MS * ms and not is_possible(unpacked_fix(a), unpacked_fix(b), mm):
            first = None
            continue
        slower, faster = (a_speed, b_speed) if a_speed < b_speed else (b_speed, a_speed)
        if mm >= MOVING_MM_PER_MS * ms:
            if slower > 0:
                known += 1
            else:
                unknown += 1
        if slower <= 0 and not is_reliable:
            first = None
            continue
        if first is None:
            first, first_ms, way_mm, least_mm, most_mm = a, a_ms, 0, 0, 0
        way_mm += mm
        if slower > 0:
            least_mm += slower * ms // 1_000
        if faster > 0:
            most_mm += faster * ms // 1_000
        if b_ms - first_ms >= STRETCH_MS:
            finding = _compared(unpacked_fix(first), unpacked_fix(b), _Sums(way_mm, least_mm, most_mm))
            compared.append(Comparison(first_ms, b_ms, finding))
            first = None
    # Forged positions say nothing of the phone's habit.
    is_forged = any(one.finding is not None for one in compared)
    after_habit = habit if is_forged else with_window(habit, known, unknown)
    return WindowMotion(compared, after_habit, count, has_rest)


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
