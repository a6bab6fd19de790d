"""The way that a rider still has to ride until an order is handed over, through the stops of other orders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import cos, radians
from typing import NamedTuple

from domain.features.eta.city_view import CityView
from domain.features.geo import haversine_mm
from domain.features.traffic.steps import cell_at, heading_octant

Place = tuple[float, float]
"""Latitude and longitude in WGS84 degrees."""

SAMPLE_M = 600.0
"""A cell is about 900 m across, so each cell on the way is looked up about once or twice."""

MAX_SAMPLES = 12
"""Bounds the look-ups of one part of the way."""


class Stop(NamedTuple):
    """A target of another order of the same rider."""

    order_id: str
    place: Place
    is_pick_up: bool = False
    """Whether the order is still to be picked up there."""


class Path(NamedTuple):
    """The places from a start to a target, and at how many between them another order is picked up."""

    places: list[Place]
    pick_ups: int


class Ride(NamedTuple):
    """One part of the way: straight metres through ``stops`` targets of other orders, and the pace to expect, s/km.

    At ``pick_ups`` of the stops the other order is picked up.
    """

    metres: float
    stops: int
    pace_s_per_km: float | None
    pick_ups: int = 0


class Way(NamedTuple):
    """The rides to the restaurant and to the customer; None: done, or unknown since the rider's location is unknown.

    ``since_placed_s``: how long ago the order was placed, which no step of it changes.
    """

    to_restaurant: Ride | None
    to_customer: Ride | None
    fleet_pace_s_per_km: float | None
    since_placed_s: float = 0.0


def metres(a: Place, b: Place) -> float:
    return haversine_mm(*a, *b) / 1_000.0


def octant_between(a: Place, b: Place) -> int:
    """The heading octant of the straight way; over the antimeridian the shorter one."""
    east = (b[1] - a[1] + 540.0) % 360.0 - 180.0
    return heading_octant(b[0] - a[0], east * cos(radians((a[0] + b[0]) / 2.0)))


def visits(start: Place, order_id: str, target: Place, others: Sequence[Stop]) -> tuple[Path, list[Stop]]:
    """The places in order until ``target`` is reached, with ``start``; and the targets that are left then.

    The nearest open target is next, by the haversine distance; of equal distances the lower order id.
    """
    left = sorted(others)
    places, pick_ups = [start], 0
    while left:
        here = places[-1]
        nearest = min(left, key=lambda stop: (haversine_mm(*here, *stop.place), stop.order_id))
        if (haversine_mm(*here, *target), order_id) <= (haversine_mm(*here, *nearest.place), nearest.order_id):
            break
        places.append(nearest.place)
        pick_ups += nearest.is_pick_up
        left.remove(nearest)
    places.append(target)
    return Path(places, pick_ups), left


def ride_along(path: Path, city: CityView | None, at_ms: int) -> Ride:
    """The straight metres along the path, and the mean pace of the cells on it, by heading, weighted by metres."""
    parts = [(a, b, metres(a, b)) for a, b in pairwise(path.places)]
    total, stops = sum(part_m for _, _, part_m in parts), len(path.places) - 2
    if city is None:
        return Ride(total, stops, None, path.pick_ups)
    seconds = weight = 0.0
    for a, b, part_m in parts:
        pace = _pace_between(a, b, part_m, city, at_ms)
        if pace is None:
            return Ride(total, stops, None, path.pick_ups)
        # At least a metre, so that a rider at the target has a pace too.
        seconds += max(part_m, 1.0) * pace
        weight += max(part_m, 1.0)
    return Ride(total, stops, round(seconds / weight, 3), path.pick_ups)


def _pace_between(a: Place, b: Place, part_m: float, city: CityView, at_ms: int) -> float | None:
    samples = min(MAX_SAMPLES, 1 + int(part_m / SAMPLE_M))
    octant, total = octant_between(a, b), 0.0
    east = (b[1] - a[1] + 540.0) % 360.0 - 180.0
    for sample in range(samples):
        share = (sample + 0.5) / samples
        pace = city.pace(cell_at(a[0] + (b[0] - a[0]) * share, a[1] + east * share), octant, at_ms)
        if pace is None:
            return None
        total += pace
    return total / samples
