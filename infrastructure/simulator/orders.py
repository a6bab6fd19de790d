"""Customers who place orders: from which restaurant, to which address, and what they are promised. Pure."""

from __future__ import annotations

from hashlib import sha256
from math import ceil
from random import Random
from typing import Any

from infrastructure.simulator.city import Point, street_distance_m
from infrastructure.simulator.deliveries import Habits, SimulatedOrder, arrived_press
from infrastructure.simulator.restaurants import Restaurants
from infrastructure.simulator.scenario import SOURCE, Scenario

NEAREST_M, FARTHEST_M = 150.0, 2_600.0
"""How far from the restaurant along streets customers order."""

PROMISED_MPS = 3.0
PROMISED_EXTRA_S = 420.0
"""A promise is the preparation, the way at PROMISED_MPS and this much for everything else, rounded up."""

PROMISE_UNIT_S = 300
UNPROMISED_SHARE = 0.1


class Customers:
    """Places orders one after the other. Order ids are unique for each seed and start."""

    def __init__(self, scenario: Scenario, restaurants: Restaurants) -> None:
        self._scenario = scenario
        self._restaurants = restaurants
        self._chance = Random(f"{scenario.seed}/customers")
        self._run = sha256(f"{scenario.seed}/{scenario.start_ms}".encode()).hexdigest()[:8]
        self._count = 0

    def order(self, now_s: float) -> SimulatedOrder:
        """The order that is placed at ``now_s``. Call it in order of time."""
        self._count += 1
        chance, habits = self._chance, self._scenario.habits
        restaurant = self._restaurants.any(chance)
        customer_at = self._address(restaurant.at)
        prepared = self._restaurants.prepare(restaurant, now_s)
        way_s = street_distance_m(restaurant.at, customer_at) / PROMISED_MPS
        promised_s = ceil((prepared.expected_s + way_s + PROMISED_EXTRA_S) / PROMISE_UNIT_S) * PROMISE_UNIT_S
        order_id = f"order-{self._run}-{self._count:05}"
        body: dict[str, Any] = {
            "order_id": order_id,
            "restaurant": self._place(restaurant.at),
            "customer": self._place(customer_at),
            "city": self._scenario.city.name,
            "time_zone": self._scenario.city.time_zone,
            "currency": self._scenario.city.currency,
            "placed_at": self._scenario.ms(now_s),
            "items": min(9, 1 + int(chance.expovariate(0.7))),
            "source_service": SOURCE,
        }
        if prepared.stated_s is not None:
            body["preparation_seconds"] = prepared.stated_s
        if chance.random() >= UNPROMISED_SHARE:
            body["promised_seconds"] = promised_s
        order = SimulatedOrder(
            order_id,
            restaurant.number,
            restaurant.at,
            customer_at,
            now_s,
            prepared.ready_s,
            body,
            may_stack=chance.random() < habits.stack_share,
        )
        order.press = arrived_press(habits, chance)
        order.is_refused = chance.random() < habits.refused_share
        return order

    def _address(self, restaurant_at: Point) -> Point:
        city = self._scenario.city
        for _ in range(50):
            address = city.any_address(self._chance)
            if NEAREST_M <= street_distance_m(restaurant_at, address) <= FARTHEST_M:
                return address
        # A city of few blocks may have no address in that range.
        return city.any_address(self._chance)

    def _place(self, at: Point) -> dict[str, float]:
        latitude, longitude = self._scenario.city.degrees_of(*at)
        return {"latitude": round(latitude, 7), "longitude": round(longitude, 7)}


def cancels_after_s(habits: Habits, chance: Random) -> float | None:
    """Seconds after which the customer cancels an order that is not picked up by then; None for most orders."""
    wants = chance.random() < habits.cancel_share
    shortest, longest = habits.cancel_after_s
    # Evenly spread in the logarithm: most who cancel do so soon.
    seconds = shortest * (longest / shortest) ** chance.random()
    return seconds if wants else None
