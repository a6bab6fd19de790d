"""How many orders customers place, by hour of the week. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from infrastructure.simulator.city import LocalClock

ORDERS_BY_HOUR = (
    *(0.35, 0.12, 0.04, 0.02, 0.02, 0.03, 0.06, 0.15, 0.35, 0.4, 0.4, 0.6),
    *(1.1, 2.1, 2.3, 1.5, 0.8, 0.7, 0.9, 1.6, 2.9, 3.4, 2.6, 1.1),
)
"""Orders at each full hour, relative to each other: a late lunch and a late dinner, as in Spain."""

_MEAN_OF_DAY = sum(ORDERS_BY_HOUR) / 24.0
_OF_DAYS = (0.85, 0.85, 0.9, 0.95, 1.15, 1.2, 1.1)
"""Orders of Monday to Sunday, relative to the mean day."""

_PEAK = max(ORDERS_BY_HOUR) / _MEAN_OF_DAY * max(_OF_DAYS)


def demand(hour_of_week: float) -> float:
    """Orders per hour relative to the mean of the week, linear between full hours."""
    hour = hour_of_week % 24.0
    begun = int(hour)
    before, after = ORDERS_BY_HOUR[begun], ORDERS_BY_HOUR[(begun + 1) % 24]
    return (before + (hour - begun) * (after - before)) / _MEAN_OF_DAY * _OF_DAYS[int(hour_of_week // 24.0)]


def busyness(hour_of_week: float) -> float:
    """Orders per hour relative to the busiest hour of the week, 0 to 1."""
    return min(1.0, demand(hour_of_week) / _PEAK)


class Demand(NamedTuple):
    """``opening`` orders are placed in the first OPENING_S, so that a short run has deliveries from its beginning.

    ``by_hour``: the rate follows the hour of the week; else it is steady, so that a run at night has orders too.
    No order is placed from ``until_s`` on.
    """

    orders_per_hour: float = 40.0
    restaurants: int = 12
    opening: int = 0
    by_hour: bool = False
    until_s: float = float("inf")


OPENING_S = 4.0


def arrivals(wanted: Demand, clock: LocalClock, seed: str) -> Iterator[float]:
    """The seconds at which orders are placed: a Poisson process whose rate follows the hour, by thinning.

    P. A. W. Lewis and G. S. Shedler, "Simulation of nonhomogeneous Poisson processes by thinning", 1979.
    """
    chance = Random(f"{seed}/arrivals")
    first = sorted(chance.uniform(0.0, OPENING_S) for _ in range(wanted.opening))
    yield from (at_s for at_s in first if at_s < wanted.until_s)
    highest = wanted.orders_per_hour / 3_600.0 * (_PEAK if wanted.by_hour else 1.0)
    now_s = OPENING_S if wanted.opening else 0.0
    while highest > 0.0:
        now_s += chance.expovariate(highest)
        if now_s >= wanted.until_s:
            return
        if not wanted.by_hour or chance.random() < demand(clock.hour_of_week(now_s)) / _PEAK:
            yield now_s
