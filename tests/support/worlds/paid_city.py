"""A city whose riders are paid: deliveries on a real log, with late and repeated pings and with corrections."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from domain.deliveries.commands import Assign, Cancel, Complete, DeliveryCommand, PickUp, PlaceOrder, Unassign
from domain.deliveries.values import Coordinates
from domain.gps_ping import parse_ping
from domain.identifiers import SHARDS
from domain.riders.command_service import RiderCommands
from domain.riders.commands import CloseStatement
from infrastructure.backends import Backends
from infrastructure.postgres.projection_sink import PostgresSink
from projections.payouts import PAYOUTS
from projections.rebuild.catch_up import CatchUp

START_MS = 1_795_996_800_000 - 1_800_000
"""Half an hour before 2026-W49 begins in UTC, so half an hour before 01:00 in Berlin: a night, and two statements."""

WEEK, NEXT_WEEK = "2026-W48", "2026-W49"
METRES_A_DEGREE = 111_195.0797
WINDOW_MS = 60_000
LATE, REPEATED, OFFLINE, CORRECTED, CANCELLED, STACKED = 0.05, 0.05, 0.05, 0.05, 0.03, 0.2

Action = tuple[int, int, str, Any]
"""Reception in epoch ms, a number that orders equal receptions, and a ping's fields or a command."""


class PaidCity:
    """``windows`` records what happened, a minute each; ``live`` also folds payouts as it goes, into generation 1."""

    def __init__(
        self, backends: Backends, riders: int, deliveries_each: int, seed: int, *, ping_interval_s: int = 10
    ) -> None:
        self.backends = backends
        self.riders = [f"rider-{n}" for n in range(riders)]
        self._deliveries_each = deliveries_each
        self._ping_interval_s = ping_interval_s
        self._chance = random.Random(seed)

    def live(self) -> None:
        self.backends.generations.first(PAYOUTS)
        for number in self.windows():
            if number % 7 == 0:
                self.fold(1)
        self.fold(1)

    def windows(self) -> Iterator[int]:
        """Record minute after minute. Yields the number of each once its events are committed."""
        scripts = [self._script(rider, random.Random(self._chance.random())) for rider in self.riders]
        windows = groupby(heapq.merge(*scripts, key=lambda action: action[:2]), lambda action: action[0] // WINDOW_MS)
        closed = False
        for number, (window, actions) in enumerate(windows):
            if not closed and window * WINDOW_MS >= START_MS + 1_800_000 + 2 * WINDOW_MS:
                self._close(window * WINDOW_MS)
                closed = True
            self._record(list(actions))
            yield number

    def fold(self, generation: int) -> None:
        CatchUp(PAYOUTS, self.backends.log, self.sink(generation), self.backends.decode, range(SHARDS)).run()

    def sink(self, generation: int) -> PostgresSink:
        return PostgresSink(self.backends.sink_engine, PAYOUTS, generation)

    def _close(self, now_ms: int) -> None:
        """Every other rider's week is closed two minutes after its end: some pings of it are still to come."""
        closings = [
            CloseStatement(rider_id=rider, by="ruth", period=WEEK, currency="EUR", received_ms=now_ms)
            for rider in self.riders[::2]
        ]
        outcomes = RiderCommands(self.backends.riders).execute(closings)
        assert all(outcome.recorded for outcome in outcomes), outcomes

    def _record(self, actions: Sequence[Action]) -> None:
        pings = [parse_ping(item, received_ms) for received_ms, _, kind, item in actions if kind == "ping"]
        if pings:
            assert all(outcome.rejection is None for outcome in self.backends.riders.record_pings(pings))
        commands = [command for _, _, kind, command in actions if kind == "command"]
        if commands:
            outcomes = self.backends.deliveries.execute(commands)
            assert all(outcome.rejection is None for outcome in outcomes), outcomes

    def _script(self, rider: str, chance: random.Random) -> Iterator[Action]:
        """What the platform receives of one rider, in the order of reception."""
        waiting: list[Action] = []
        script = _RiderScript(rider, chance, waiting, self.riders, self._ping_interval_s)
        for number in range(self._deliveries_each):
            script.deliver(number)
            while waiting and waiting[0][0] < script.now_ms:
                yield heapq.heappop(waiting)
        while waiting:
            yield heapq.heappop(waiting)


class _RiderScript:
    """Makes the actions of one rider, delivery after delivery."""

    def __init__(
        self,
        rider: str,
        chance: random.Random,
        actions: list[Action],
        riders: Sequence[str],
        ping_interval_s: int,
    ) -> None:
        self.rider = rider
        self.now_ms = START_MS + chance.randrange(60_000)
        self._chance = chance
        self._actions = actions
        self._riders = riders
        self._ping_interval_s = ping_interval_s
        self._north_m = 0.0
        self._number = 0

    def deliver(self, number: int) -> None:
        """One delivery, or two at once."""
        chance = self._chance
        orders = [f"{self.rider}-{number}{part}" for part in ("ab" if chance.random() < STACKED else "a")]
        to_restaurant, to_customer = chance.randrange(60, 120), chance.randrange(60, 120)
        there_m = self._north_m + 5.0 * to_restaurant
        for order in orders:
            self._command(
                PlaceOrder,
                order,
                restaurant=_place(there_m),
                customer=_place(there_m + 5.0 * to_customer),
                time_zone="Europe/Berlin",
                currency="EUR",
            )
            if chance.random() < CORRECTED:
                self._command(Assign, order, rider_id=chance.choice(self._riders))
                self.now_ms += 3_000
                self._command(Unassign, order)
            self._command(Assign, order, rider_id=self.rider)
            self.now_ms += 1_000
        self._ride(to_restaurant)
        if chance.random() < 0.15:
            self._ride(chance.randrange(300, 480), mps=0.0, every_s=max(30, self._ping_interval_s))
        carried = [order for order in orders if chance.random() >= CANCELLED]
        for order in orders:
            self._command(PickUp if order in carried else Cancel, order, offline=True)
        self._ride(to_customer)
        for order in carried:
            self._command(Complete, order, offline=True)
            self.now_ms += 2_000

    def _ride(self, seconds: int, mps: float = 5.0, every_s: int | None = None) -> None:
        every_s = every_s or self._ping_interval_s
        for _ in range(0, seconds, every_s):
            self.now_ms += every_s * 1_000
            self._north_m += mps * every_s
            self._ping()

    def _ping(self) -> None:
        chance = self._chance
        t_ms = self.now_ms - chance.randrange(900)
        item = {
            "rider_id": self.rider,
            "latitude": 52.5 + (self._north_m + chance.uniform(-4, 4)) / METRES_A_DEGREE,
            "longitude": 13.4 + chance.uniform(-4, 4) / METRES_A_DEGREE,
            "event_timestamp_ms": t_ms,
            "accuracy_meters": chance.choice([4.0, 4.0, 8.0, None, 80.0]),
        }
        received_ms = self.now_ms + chance.randrange(50, 3_000)
        if chance.random() < LATE:
            # One in ten of them is later than any fix is kept for.
            received_ms += chance.randrange(5_000, 800_000) if chance.random() < 0.9 else 7_200_000
        self._add(received_ms, "ping", item)
        if chance.random() < REPEATED:
            self._add(received_ms + chance.randrange(1_000, 300_000), "ping", item)

    def _command(self, kind: type[DeliveryCommand], order: str, *, offline: bool = False, **fields: Any) -> None:
        at_ms = None
        if offline and self._chance.random() < OFFLINE:
            at_ms = self.now_ms - self._chance.randrange(1_000, 60_000)
        command = kind(order_id=order, received_ms=self.now_ms, at_ms=at_ms, **fields)
        self._add(self.now_ms, "command", command)

    def _add(self, received_ms: int, kind: str, content: Any) -> None:
        self._number += 1
        heapq.heappush(self._actions, (received_ms, self._number, kind, content))


def _place(north_m: float) -> Coordinates:
    return Coordinates(52.5 + north_m / METRES_A_DEGREE, 13.4)
