"""How far a rider is with one leg, by the pings alone: approach, arrival, leaving, each with hysteresis. Pure."""

from __future__ import annotations

from enum import IntEnum
from math import cos, radians
from typing import Final, NamedTuple

from domain.features.completion import rules
from domain.features.completion.track import NO_VALUE, TrackedFix
from domain.features.geo import haversine_mm

DEGREES: Final = 1e-7
_HALF_TURN_E7: Final = 1_800_000_000
_APPROACH_E7: Final = round(rules.APPROACH_MM / 11.1) + 1_000
"""A latitude that differs by more is farther than APPROACH_MM: 10⁻⁷ degrees are 11.1 mm, and a margin."""

_LEAST_MM_PER_KE7: Final = 11_100
"""Millimetres of 1,000 × 10⁻⁷ degrees of latitude, less 0.2 % for roundings."""

NO_EVENT: Final = bytes(16)


class Phase(IntEnum):
    """How far a rider is. The number is stored: append only."""

    EN_ROUTE = 0
    APPROACHING = 1
    ARRIVED = 2
    LEFT = 3


# Plain integers, since these run for every ping.
EN_ROUTE: Final = int(Phase.EN_ROUTE)
APPROACHING: Final = int(Phase.APPROACHING)
ARRIVED: Final = int(Phase.ARRIVED)
LEFT: Final = int(Phase.LEFT)

NEAR: Final = 1
"""A mark: the rider was once within the approach. The numbers of marks are stored, each a bit."""

UNSEEN: Final = 2
"""A mark: between two fixes the rider may have been at the target."""

LIGHT: Final = 4
"""A mark: the arrival was short and ended with a ride. If the rider rests at the target again, that is the arrival."""


class LegPlace(NamedTuple):
    """Where a leg goes, in 10⁻⁷ degrees, and when it began, in epoch ms."""

    latitude_e7: int
    longitude_e7: int
    started_ms: int


class FixInstant(NamedTuple):
    """The time of a fix in epoch ms, 0 = none, and the 16 bytes of its event id."""

    ms: int
    event: bytes


class RestFix(NamedTuple):
    """The first fix of a rest: instant, distance to the target in mm, accuracy in cm, place in 10⁻⁷ degrees."""

    ms: int
    event: bytes
    mm: int
    accuracy_cm: int
    latitude_e7: int
    longitude_e7: int


NO_INSTANT: Final = FixInstant(0, NO_EVENT)
NO_REST: Final = RestFix(0, NO_EVENT, 0, 0, 0, 0)


class LegProgress(NamedTuple):
    """``phase`` is a Phase, ``marks`` a sum of marks.

    ``rest``: the present or last rest at the target; ``rest_fixes`` of it, 0 if it is over, at most ARRIVAL_FIXES.
    ``latest``: the latest fix at rest there; after leaving, the last one before it.
    """

    phase: int = EN_ROUTE
    marks: int = 0
    approach: FixInstant = NO_INSTANT
    arrival: RestFix = NO_REST
    rest: RestFix = NO_REST
    rest_fixes: int = 0
    latest: FixInstant = NO_INSTANT


NO_PROGRESS: Final = LegProgress()


def distance_mm(place: LegPlace | RestFix, fix: TrackedFix) -> int:
    """Whole millimetres from a place to a fix."""
    return haversine_mm(
        place.latitude_e7 * DEGREES, place.longitude_e7 * DEGREES, fix.latitude_e7 * DEGREES, fix.longitude_e7 * DEGREES
    )


def is_far(place: LegPlace, latitude_e7: int, longitude_e7: int) -> bool:
    """Whether a point is certainly farther than APPROACH_MM; cheaper than its distance."""
    target_e7, target_east_e7, _ = place
    if not -_APPROACH_E7 <= latitude_e7 - target_e7 <= _APPROACH_E7:
        return True
    east_e7 = abs(longitude_e7 - target_east_e7)
    # Meridians are closest at the higher of the two latitudes, which is at most _APPROACH_E7 away.
    narrow = cos(radians((abs(target_e7) + _APPROACH_E7) * DEGREES))
    return east_e7 < _HALF_TURN_E7 and east_e7 * narrow > _APPROACH_E7


def advanced(progress: LegProgress, place: LegPlace, before: TrackedFix | None, fix: TrackedFix) -> LegProgress:
    """The progress after the next fix in order of time; ``before``: the fix before it. The same if nothing changes."""
    t_ms, latitude_e7, longitude_e7, accuracy_cm, speed, event, _, _, _ = fix
    if t_ms < place.started_ms:
        return progress
    phase = progress.phase
    if (
        phase < ARRIVED
        and (before is None or t_ms - before.t_ms > rules.QUIET_MS)
        and _may_have_been_there(place, before, fix)
    ):
        progress = progress._replace(marks=progress.marks | UNSEEN)
    if phase == EN_ROUTE and is_far(place, latitude_e7, longitude_e7):
        return progress
    mm = distance_mm(place, fix)
    if phase == EN_ROUTE:
        if mm > rules.APPROACH_MM:
            return progress
        progress = LegProgress(APPROACHING, progress.marks | NEAR, FixInstant(t_ms, event))
    if speed == NO_VALUE:
        speed = _speed_mm_s(before, fix)
    if speed <= rules.REST_MM_S and mm <= rules.arrival_radius_mm(accuracy_cm):
        return _rested(progress, fix, mm)
    return _moved(progress, accuracy_cm, mm, speed)


def _rested(progress: LegProgress, fix: TrackedFix, mm: int) -> LegProgress:
    """After a fix at rest at the target."""
    phase, marks, approach, arrival, rest, fixes, _ = progress
    latest = FixInstant(fix.t_ms, fix.event_id)
    if not fixes:
        rest = RestFix(fix.t_ms, fix.event_id, mm, fix.accuracy_cm, fix.latitude_e7, fix.longitude_e7)
        return LegProgress(phase, marks, approach, arrival, rest, 1, latest)
    # Counted only as far as an arrival needs it.
    if fixes < rules.ARRIVAL_FIXES:
        fixes += 1
    if fixes == rules.ARRIVAL_FIXES and fix.t_ms - rest.ms >= rules.ARRIVAL_MS:
        if phase == APPROACHING and fix.speed_mm_s == NO_VALUE and _drifted(rest, fix):
            # No device says that the rider stands, and the place is crossed: the rest begins with this fix.
            return _rested(progress._replace(rest_fixes=0), fix, mm)
        if phase == APPROACHING or marks & LIGHT:
            return arrived_at_rest(progress)._replace(rest_fixes=fixes, latest=latest)
        # A rider who left and came back, for food that was not ready, had arrived before.
        phase = ARRIVED
    return LegProgress(phase, marks, approach, arrival, rest, fixes, latest)


def arrived_at_rest(progress: LegProgress) -> LegProgress:
    """Arrived when the present rest began."""
    return progress._replace(phase=ARRIVED, marks=progress.marks & ~LIGHT, arrival=progress.rest)


def _moved(progress: LegProgress, accuracy_cm: int, mm: int, speed: int) -> LegProgress:
    """After a fix that is no rest at the target."""
    phase = progress.phase
    if phase == APPROACHING and mm > rules.APPROACH_LEFT_MM:
        return LegProgress(EN_ROUTE, progress.marks)
    has_left = mm > rules.left_radius_mm(accuracy_cm)
    if phase == ARRIVED:
        if has_left:
            return progress._replace(phase=LEFT, marks=progress.marks & ~LIGHT, rest_fixes=0)
        if speed > rules.RIDING_MM_S and progress.latest.ms - progress.arrival.ms < rules.LIGHT_MS:
            progress = progress._replace(marks=progress.marks | LIGHT)
    # A fix beside the radius that does not move is noise: it neither extends nor ends a rest.
    if progress.rest_fixes and (has_left or speed > rules.REST_MM_S):
        return progress._replace(rest_fixes=0)
    return progress


def _speed_mm_s(before: TrackedFix | None, fix: TrackedFix) -> int:
    """Without a device speed: the least that the two fixes show. 0 if nothing is known."""
    if before is None or fix.t_ms - before.t_ms > rules.STOP_MS:
        return 0
    return lowest_speed_mm_s(before, fix)


def lowest_speed_mm_s(before: TrackedFix, fix: TrackedFix) -> int:
    """The device's speed is not asked: that of the distance less the larger accuracy. 0 for two fixes of one instant.

    Neighbouring fixes share most of their error, so one accuracy is enough.
    """
    ms = fix.t_ms - before.t_ms
    there = LegPlace(before.latitude_e7, before.longitude_e7, 0)
    return max(0, distance_mm(there, fix) - _noise_mm(before, fix)) * 1_000 // ms if ms > 0 else 0


def _noise_mm(one: TrackedFix | RestFix, other: TrackedFix) -> int:
    """The larger of two accuracies."""
    return 10 * max(
        *[rules.USUAL_ACCURACY_CM if each.accuracy_cm == NO_VALUE else each.accuracy_cm for each in (one, other)]
    )


def _drifted(rest: RestFix, fix: TrackedFix) -> bool:
    """Whether the rest has a pace of more than REST_MM_S from its first fix to this one."""
    return (distance_mm(rest, fix) - _noise_mm(rest, fix)) * 1_000 > rules.REST_MM_S * (fix.t_ms - rest.ms)


def _may_have_been_there(place: LegPlace, before: TrackedFix | None, fix: TrackedFix) -> bool:
    """Whether a rider may have been at the target between the two fixes, or since the leg began."""
    if before is None:
        ms = fix.t_ms - place.started_ms
        return ms > 0 and distance_mm(place, fix) * 1_000 <= rules.REACH_MM_S * ms
    ms = fix.t_ms - before.t_ms
    north_e7 = abs(before.latitude_e7 - place.latitude_e7) + abs(fix.latitude_e7 - place.latitude_e7)
    # No distance is shorter than its part along the meridian: most targets are out of reach by that alone.
    if north_e7 * _LEAST_MM_PER_KE7 > rules.REACH_MM_S * ms:
        return False
    mm = distance_mm(place, before) + distance_mm(place, fix)
    return mm * 1_000 <= rules.REACH_MM_S * ms
