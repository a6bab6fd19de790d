"""ETAs of open orders as fast as a few connections give them, while a dispatcher moves the orders on."""

from __future__ import annotations

import random
from typing import Any

import httpx

from tests.support.postgres.many_reads import ManyReads
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.steady_load import BackgroundThread

STEPS = ("assign", "pickup", "arrive", "complete")


class MovingOrders(BackgroundThread):
    """Keeps ``count`` orders open: each ``interval_s`` a step of one, and a new order for each that is over."""

    def __init__(self, ridelog: Ridelog, riders: list[str], count: int, interval_s: float) -> None:
        super().__init__("moving orders")
        self._ridelog = ridelog
        self._riders = riders
        self._interval_s = interval_s
        self._count = count
        self._chance = random.Random(count)
        self._steps: dict[str, int] = {}
        self._numbers = 0
        with httpx.Client(timeout=30.0, base_url=ridelog.info.http_url, trust_env=False) as client:
            for _ in range(count):
                self._place(client)

    @property
    def open(self) -> list[str]:
        """The orders that have an ETA."""
        return list(self._steps)

    def run(self) -> None:
        with httpx.Client(timeout=30.0, base_url=self._ridelog.info.http_url, trust_env=False) as client:
            for _ in self.every(self._interval_s):
                try:
                    self._move(client)
                except httpx.HTTPError:
                    continue  # the API was killed; the order is moved later

    def _move(self, client: httpx.Client) -> None:
        if len(self._steps) < self._count:
            # While the API was killed, an order was over and the next one could not be placed.
            self._place(client)
        order = self._chance.choice(self.open)
        done = self._steps[order]
        if done == len(STEPS) - 1:
            # Before the command: an order that is over has no ETA.
            del self._steps[order]
            self._place(client)
        else:
            self._steps[order] = done + 1
        body = {"rider_id": self._chance.choice(self._riders)} if done == 0 else {}
        client.post(f"/deliveries/{order}/{STEPS[done]}", json=body)

    def _place(self, client: httpx.Client) -> None:
        self._numbers += 1
        order = f"moving-{self._riders[0]}-{self._numbers}"

        def somewhere() -> dict[str, Any]:
            return {
                "latitude": 52.5 + self._chance.randrange(1_000) / 1e5,
                "longitude": 13.4 + self._chance.randrange(1_000) / 1e5,
            }

        placed = {"order_id": order, "restaurant": somewhere(), "customer": somewhere(), "currency": "EUR"}
        promised = {"time_zone": "Europe/Berlin", "preparation_seconds": 300, "promised_seconds": 1_800}
        client.post("/deliveries", json=placed | promised)
        self._steps[order] = 0


class ManyEtas(ManyReads):
    """Asks for the ETAs of the orders that are open; ``answered`` counts those with 200."""

    def __init__(self, ridelog: Ridelog, orders: MovingOrders, seed: int, pause_s: float = 0.0) -> None:
        super().__init__(ridelog, [], seed, pause_s)
        self._orders = orders

    def path(self, chance: random.Random) -> str:
        return f"/deliveries/{chance.choice(self._orders.open)}/eta"
