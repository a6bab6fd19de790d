"""A rider's latest fixes in their order, and the steps between them: what later fixes may still change."""

from __future__ import annotations

from typing import NamedTuple

from domain.features.geo import haversine_mm

KEPT = 10
"""Fixes that are kept; one that comes when so many later ones are known is too late."""

FASTEST_MM_PER_MS = 60
"""Above 60 m/s (216 km/h) a step is no movement of a rider: a teleport, or a fix that is far off."""

SLOWEST_MM_PER_S = 500
"""Below 0.5 m/s a step is a phone at rest, with its noise."""

LONGEST_MOVE_MS = 300_000
"""Whoever is not heard of for five minutes may have stood still: the way counts, the time does not count as moving."""


class TrackFix(NamedTuple):
    """One accepted fix; ordered by ``order``. ``mm``: way from the fix before it, 0 for the very first.

    ``t_ms`` is its effective time, ``ahead_ms`` how much later it was sent to be: 0 unless the phone's clock is ahead.
    ``event_id`` is the UUID's 16 bytes, which sort as the UUID does; degrees WGS84.
    """

    t_ms: int
    event_id: bytes
    latitude: float
    longitude: float
    mm: int
    ahead_ms: int = 0

    @property
    def order(self) -> tuple[int, int, bytes]:
        """By effective time; fixes of one reception by the time as sent."""
        return self.t_ms, self.ahead_ms, self.event_id


class Step(NamedTuple):
    """What one step adds: it belongs to the time of its later fix. Integers: sums do not depend on their order."""

    impossible: int
    distance_mm: int
    moving_mm: int
    moving_ms: int
    speed_mm_s: int
    """0 unless it is movement."""
    silence_ms: int


NO_STEP = Step(0, 0, 0, 0, 0, 0)


def step(mm: int, ms: int) -> Step:
    """The step of ``mm`` whole millimetres in ``ms`` milliseconds; two fixes of one instant are no step at all."""
    if ms == 0:
        return NO_STEP
    if mm > FASTEST_MM_PER_MS * ms:
        return Step(1, 0, 0, 0, 0, ms)
    if ms <= LONGEST_MOVE_MS and mm * 1_000 >= SLOWEST_MM_PER_S * ms:
        return Step(0, mm, mm, ms, mm * 1_000 // ms, ms)
    return Step(0, mm, 0, 0, 0, ms)


def way_mm(a: TrackFix, b: TrackFix) -> int:
    return haversine_mm(a.latitude, a.longitude, b.latitude, b.longitude)
