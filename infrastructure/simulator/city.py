"""The simulated city: a grid of streets, the places on them, and how much traffic slows each street by hour.

Pure. Points are in metres east and north of the city's centre.
"""

from __future__ import annotations

from datetime import datetime
from math import cos, degrees, floor, radians
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

from domain.features.geo import EARTH_RADIUS_M

Point = tuple[float, float]
"""Metres east and north of the city's centre."""

Corner = tuple[int, int]
"""Column and row of a crossing, each 0 to ``City.blocks``."""

ON_STREET_BLOCKS = 1e-6
"""A point this near a street is on it, in blocks (0.1 mm): rounding does not take a rider off the street."""

HOUR_S = 3_600
HOURS_OF_WEEK = 168


class City(NamedTuple):
    """A grid of ``blocks`` × ``blocks`` blocks around a point in WGS84 degrees, with a street every ``block_m`` metres.

    The default is Barcelona's Eixample, whose streets are 133.3 m apart. ``time_zone`` is an IANA name, ``currency``
    ISO 4217.
    """

    latitude: float = 41.3917
    longitude: float = 2.1649
    block_m: float = 133.3
    blocks: int = 24
    name: str = "Barcelona"
    time_zone: str = "Europe/Madrid"
    currency: str = "EUR"

    @property
    def half_m(self) -> float:
        """Distance from the centre to each edge, in metres."""
        return self.blocks * self.block_m / 2

    def corner_m(self, corner: Corner) -> Point:
        """The place of a corner."""
        return corner[0] * self.block_m - self.half_m, corner[1] * self.block_m - self.half_m

    def degrees_of(self, east_m: float, north_m: float) -> tuple[float, float]:
        """Latitude and longitude of a point, on the sphere of ``haversine_mm``; a city is small enough to be flat."""
        latitude = self.latitude + degrees(north_m / EARTH_RADIUS_M)
        return latitude, self.longitude + degrees(east_m / (EARTH_RADIUS_M * cos(radians(self.latitude))))

    def any_corner(self, chance: Random) -> Point:
        """The place of a random corner."""
        return self.corner_m((chance.randint(0, self.blocks), chance.randint(0, self.blocks)))

    def any_address(self, chance: Random) -> Point:
        """A random place along a random street, to 0.1 m."""
        street = self.corner_m((chance.randint(0, self.blocks),) * 2)[0]
        along = round(chance.uniform(-self.half_m, self.half_m), 1)
        return (street, along) if chance.random() < 0.5 else (along, street)

    def nearest_corners(self, point: Point) -> list[Corner]:
        """The corners at both ends of the block face that ``point`` is on; one if it is a corner.

        Raises ValueError for a point that is on no street: a route from there would cut through buildings.
        """
        column, row = ((axis + self.half_m) / self.block_m for axis in point)
        at_column, at_row = round(column), round(row)
        on_column, on_row = abs(column - at_column) < ON_STREET_BLOCKS, abs(row - at_row) < ON_STREET_BLOCKS
        if on_column and on_row:
            return [(at_column, at_row)]
        if on_row:
            return [(floor(column), at_row), (floor(column) + 1, at_row)]
        if on_column:
            return [(at_column, floor(row)), (at_column, floor(row) + 1)]
        raise ValueError(f"{point} is on no street")


def street_distance_m(here: Point, there: Point) -> float:
    """Distance along a grid of streets; the detour around a block face is left out."""
    return abs(here[0] - there[0]) + abs(here[1] - there[1])


class LocalClock:
    """The local hour of a city at each second of a simulation."""

    def __init__(self, start_ms: int, time_zone: str) -> None:
        self._start_s = start_ms / 1000.0
        self._zone = ZoneInfo(time_zone)
        self._offsets_s: dict[int, float] = {}

    def hour_of_week(self, now_s: float) -> float:
        """Hours since Monday 00:00 local time, at least 0 and below 168."""
        epoch_s = self._start_s + now_s
        # One look-up an hour: every zone's offset changes at a full hour of UTC, give or take half an hour.
        hour = int(epoch_s // HOUR_S)
        offset_s = self._offsets_s.get(hour)
        if offset_s is None:
            offset = datetime.fromtimestamp(hour * HOUR_S, self._zone).utcoffset()
            assert offset is not None, "ZoneInfo knows the offset of every instant"
            # Only the newest hour is kept, so that weeks of simulation need no memory.
            self._offsets_s = {hour: (offset_s := offset.total_seconds())}
        # Day 0 of the epoch was a Thursday.
        return ((epoch_s + offset_s) / HOUR_S + 72.0) % HOURS_OF_WEEK


RUSH_BY_HOUR = (
    *(0.0, 0.0, 0.0, 0.0, 0.0, 0.05, 0.2, 0.6, 1.0, 0.8, 0.5, 0.45),
    *(0.5, 0.6, 0.6, 0.5, 0.55, 0.75, 1.0, 1.0, 0.75, 0.45, 0.25, 0.1),
)
"""Share of the worst traffic at each full hour of a working day."""

WEEKEND_SHARE = 0.45
"""StreetTraffic of a Saturday or Sunday, relative to a working day at the same hour."""

DELAYS_OF_STREETS = (0.1, 0.25, 0.4, 0.6, 0.8, 1.1)
"""How much longer a metre takes in the worst traffic, of quiet to main streets: 1.1 is 2.1 times as long."""


def rush(hour_of_week: float) -> float:
    """Share of the worst traffic, 0 to 1, linear between full hours."""
    hour = hour_of_week % 24.0
    begun = int(hour)
    before, after = RUSH_BY_HOUR[begun], RUSH_BY_HOUR[(begun + 1) % 24]
    share = before + (hour - begun) * (after - before)
    return share * (WEEKEND_SHARE if hour_of_week >= 120.0 else 1.0)


class StreetTraffic:
    """How much slower each street is than when it is empty. The seed decides which streets are main streets."""

    def __init__(self, city: City, seed: str) -> None:
        chance = Random(f"{seed}/streets")
        self._city = city
        self._east_west = [chance.choice(DELAYS_OF_STREETS) for _ in range(city.blocks + 1)]
        self._north_south = [chance.choice(DELAYS_OF_STREETS) for _ in range(city.blocks + 1)]

    def slowdown(self, here: Point, there: Point, hour_of_week: float) -> float:
        """Time for the street from ``here`` to ``there``, relative to the empty street; at least 1."""
        is_east_west = abs(here[1] - there[1]) < abs(here[0] - there[0])
        streets, across = (self._east_west, here[1]) if is_east_west else (self._north_south, here[0])
        delay = streets[round((across + self._city.half_m) / self._city.block_m)]
        return 1.0 + delay * rush(hour_of_week)
