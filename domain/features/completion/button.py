"""What the pings around a button say: where the rider stood, and whether they contradict it. Pure."""

from __future__ import annotations

from math import cos, pi, radians
from typing import Final, NamedTuple

from domain.features.completion import rules
from domain.features.completion.progress import (
    DEGREES,
    EN_ROUTE,
    NEAR,
    UNSEEN,
    LegPlace,
    LegProgress,
    distance_mm,
    lowest_speed_mm_s,
)
from domain.features.completion.track import NO_VALUE, TrackedFix, count_before, fix_at, steps_between
from domain.features.geo import EARTH_RADIUS_M

UNKNOWN_MM: Final = -1
_MM_PER_E7: Final = EARTH_RADIUS_M * 1_000.0 * pi / 180.0 * DEGREES
_TURN_E7: Final = 3_600_000_000


class ButtonView(NamedTuple):
    """``distance_mm`` and ``accuracy_cm`` of the latest fix before the button; UNKNOWN_MM: none within CONFIRM_MS.

    ``stop_fixes``: the fixes of the stop, 0 if the rider did not rest. ``north_mm`` and ``east_mm``: the mean offset of
    the stop from the target, each rounded down. ``against_mm``: how far away the pings show the rider at least, around
    the button; 0 unless they are against it.
    """

    distance_mm: int = UNKNOWN_MM
    accuracy_cm: int = NO_VALUE
    stop_fixes: int = 0
    north_mm: int = 0
    east_mm: int = 0
    against_mm: int = 0


NO_VIEW: Final = ButtonView()


def button_view(track: bytes, place: LegPlace, ended_ms: int, progress: LegProgress) -> ButtonView:
    """The view of a button at ``ended_ms``. ``track`` has all fixes from AGAINST_WINDOW_MS before it."""
    against_mm = _against_mm(track, place, ended_ms, progress)
    index = count_before(track, ended_ms + 1) - 1
    if index < 0:
        return ButtonView(against_mm=against_mm)
    latest = fix_at(track, index)
    if ended_ms - latest.t_ms > rules.CONFIRM_MS:
        return ButtonView(against_mm=against_mm)
    stop = _stop(track, index, ended_ms - rules.STOP_MS)
    north, east = zip(*[_offset_mm(place, fix) for fix in stop], strict=True) if stop else ((0,), (0,))
    count = len(stop)
    return ButtonView(
        distance_mm(place, latest),
        latest.accuracy_cm,
        count,
        sum(north) // max(1, count),
        sum(east) // max(1, count),
        against_mm,
    )


def window_fixes(track: bytes, ended_ms: int) -> list[TrackedFix]:
    """The fixes that say where the rider was around the button."""
    from_ms, to_ms = ended_ms - rules.AGAINST_WINDOW_MS, ended_ms + rules.AGAINST_WINDOW_MS + 1
    return [fix for _, fix in steps_between(track, from_ms, to_ms)]


def _stop(track: bytes, last: int, from_ms: int) -> list[TrackedFix]:
    """The fixes of the rest that ends with the fix number ``last``, from ``from_ms`` on; newest first."""
    newest = fix_at(track, last)
    radius_mm = rules.arrival_radius_mm(newest.accuracy_cm)
    there = LegPlace(newest.latitude_e7, newest.longitude_e7, 0)
    found: list[TrackedFix] = []
    fix: TrackedFix | None = newest
    while fix is not None and fix.t_ms >= from_ms and distance_mm(there, fix) <= radius_mm:
        last -= 1
        before = fix_at(track, last) if last >= 0 else None
        speed = fix.speed_mm_s
        if speed == NO_VALUE:
            speed = 0 if before is None else lowest_speed_mm_s(before, fix)
        if speed > rules.REST_MM_S:
            break
        found.append(fix)
        fix = before
    return found


def _offset_mm(place: LegPlace, fix: TrackedFix) -> tuple[int, int]:
    """How far north and east of the target a fix is, on the sphere's tangent plane."""
    # The shorter way around the globe, so that an offset over the antimeridian is short.
    east_e7 = (fix.longitude_e7 - place.longitude_e7 + _TURN_E7 // 2) % _TURN_E7 - _TURN_E7 // 2
    scale = cos(radians(place.latitude_e7 * DEGREES))
    return round((fix.latitude_e7 - place.latitude_e7) * _MM_PER_E7), round(east_e7 * _MM_PER_E7 * scale)


def _against_mm(track: bytes, place: LegPlace, ended_ms: int, progress: LegProgress) -> int:
    """How far away the rider was at least, all the time around the button; 0 if that is not certain.

    Unknown is no accusation. The rider was never near, and no silence was long enough to go there and back. All fixes
    around the button are far, at least three of them over 20 s are accurate, and one is so close to the button in time
    that its target could not be reached. A phone whose position jumps proves nothing.
    """
    if progress.phase != EN_ROUTE or progress.marks & (NEAR | UNSEEN):
        return 0
    lowest_mm, accurate, reached = 0, [], True
    from_ms, to_ms = ended_ms - rules.AGAINST_WINDOW_MS, ended_ms + rules.AGAINST_WINDOW_MS + 1
    for before, fix in steps_between(track, from_ms, to_ms):
        mm = rules.lower_bound_mm(distance_mm(place, fix), fix.accuracy_cm)
        if mm <= rules.AGAINST_MM or (before is not None and lowest_speed_mm_s(before, fix) > rules.IMPOSSIBLE_MM_S):
            return 0
        lowest_mm = min(mm, lowest_mm) if lowest_mm else mm
        if fix.accuracy_cm <= rules.WORST_ACCURACY_CM:
            accurate.append(fix.t_ms)
            ms = abs(fix.t_ms - ended_ms)
            reached &= ms > rules.CONFIRM_MS or mm * 1_000 <= rules.REACH_MM_S * ms
    is_proved = len(accurate) >= rules.ARRIVAL_FIXES and accurate[-1] - accurate[0] >= rules.ARRIVAL_MS
    return lowest_mm if is_proved and not reached else 0
