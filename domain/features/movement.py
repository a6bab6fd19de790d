"""What counts as movement between two fixes of a rider: the rules that traffic and the rider's own pace share."""

from __future__ import annotations

from typing import NamedTuple

from domain.features.geo import haversine_mm

SLOT_MS = 10_000
"""One fix is used for each ten seconds of event time. Noise of 5 m between fixes of one second would add half again to
the length of a ride, and 900 fixes would make a state too large to write for each ping."""

LONGEST_STEP_MS = 120_000
"""Between fixes further apart in time the rider's path is unknown."""

SLOWEST_MM_PER_S = 1_000
"""Below 1 m/s a rider waits, walks or stands with a noisy phone: that says nothing of the way. A stop at a red light
counts as part of the longer step around it."""

FASTEST_MM_PER_S = 40_000
"""Above 40 m/s (144 km/h) a step is a jump to or from a wrong fix."""

WORST_ACCURACY_M = 50.0
"""A fix that is less accurate is not used (the limit that Namma Yatri uses)."""

DEGREES_E7 = 10_000_000
"""Coordinates are kept in whole 10⁻⁷ degrees, about 1 cm: integers, half as large as doubles."""


class PathFix(NamedTuple):
    """One accepted fix; sorted as a tuple. Effective time in epoch ms, WGS84 in 10⁻⁷ degrees.

    The place also breaks the tie of two fixes of one instant: so no event id has to be kept, and the order of arrival
    still changes nothing (invariant 6).
    """

    t_ms: int
    latitude_e7: int
    longitude_e7: int


def path_fix(t_ms: int, latitude: float, longitude: float) -> PathFix:
    return PathFix(t_ms, round(latitude * DEGREES_E7), round(longitude * DEGREES_E7))


def moved_mm(a: PathFix, b: PathFix) -> int | None:
    """Whole millimetres from ``a`` to the later fix ``b``; None if the step is no movement."""
    t1_ms, latitude1, longitude1 = a
    t2_ms, latitude2, longitude2 = b
    ms = t2_ms - t1_ms
    if not 0 < ms <= LONGEST_STEP_MS or (latitude1 == latitude2 and longitude1 == longitude2):
        return None
    mm = haversine_mm(latitude1 / DEGREES_E7, longitude1 / DEGREES_E7, latitude2 / DEGREES_E7, longitude2 / DEGREES_E7)
    return mm if SLOWEST_MM_PER_S * ms <= mm * 1_000 <= FASTEST_MM_PER_S * ms else None
