"""Restaurants, and how long they prepare an order: log-normal, longer in busy hours and with more orders at once.

Pure. The log-normal shape is that of kitchens with a usual time and rare long delays.
"""

from __future__ import annotations

from collections import Counter
from math import log
from random import Random
from typing import NamedTuple

from infrastructure.simulator.city import City, LocalClock, Point
from infrastructure.simulator.demand import busyness

USUAL_S = (540.0, 0.3)
"""Median of the restaurants' usual preparation times in seconds, and standard deviation of the logarithm."""

LONGEST_USUAL_S = 1_500.0
SIGMA = 0.3
"""Standard deviation of the logarithm of one restaurant's preparation times."""

BUSY_SHARE = 0.5
"""How much longer a restaurant takes in the busiest hour of the week."""

KITCHEN_SHARE = 0.06
"""How much longer each order that is already in preparation makes a new one."""

SILENT_SHARE = 0.1
"""Share of the orders for which the restaurant states no preparation time."""


class Restaurant(NamedTuple):
    """``usual_s``: median preparation time in a quiet hour. ``popularity``: weight among all restaurants."""

    number: int
    at: Point
    usual_s: float
    popularity: float


class Preparation(NamedTuple):
    """``stated_s``: what the restaurant says, None if it says nothing; ``ready_s``: when the food truly is ready."""

    stated_s: int | None
    expected_s: float
    ready_s: float


class Restaurants:
    """All restaurants of a city, with the orders that each is preparing."""

    def __init__(self, city: City, count: int, clock: LocalClock, seed: str) -> None:
        chance = Random(f"{seed}/restaurants")
        median_s, spread = USUAL_S
        self.all = [
            Restaurant(
                number,
                city.any_address(chance),
                min(LONGEST_USUAL_S, chance.lognormvariate(log(median_s), spread)),
                chance.lognormvariate(0.0, 0.7),
            )
            for number in range(count)
        ]
        self._weights = [restaurant.popularity for restaurant in self.all]
        self._clock = clock
        self._chance = Random(f"{seed}/kitchens")
        self._preparing: list[tuple[float, int]] = []

    def any(self, chance: Random) -> Restaurant:
        """A restaurant by popularity."""
        return chance.choices(self.all, self._weights)[0]

    def prepare(self, restaurant: Restaurant, now_s: float) -> Preparation:
        """Begin to prepare an order. Call it in order of time."""
        self._preparing = [each for each in self._preparing if each[0] > now_s]
        before = Counter(number for _, number in self._preparing)[restaurant.number]
        busy = 1.0 + BUSY_SHARE * busyness(self._clock.hour_of_week(now_s))
        expected_s = restaurant.usual_s * busy
        takes_s = expected_s * (1.0 + KITCHEN_SHARE * before) * self._chance.lognormvariate(0.0, SIGMA)
        stated_s = None if self._chance.random() < SILENT_SHARE else 60 * max(1, round(expected_s / 60.0))
        self._preparing.append((now_s + takes_s, restaurant.number))
        return Preparation(stated_s, expected_s, now_s + takes_s)
