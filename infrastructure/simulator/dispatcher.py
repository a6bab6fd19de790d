"""The dispatcher: gives each order to the nearest free rider, stacks two at times, and takes orders back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from infrastructure.simulator.actions import SentCommand, UploadKind
from infrastructure.simulator.agenda import Agenda
from infrastructure.simulator.city import street_distance_m
from infrastructure.simulator.commands import Commands
from infrastructure.simulator.deliveries import SimulatedOrder, TrueStage, Verb
from infrastructure.simulator.orders import cancels_after_s
from infrastructure.simulator.riders import MAX_ORDERS, SimulatedRider
from infrastructure.simulator.rounds import Rounds
from infrastructure.simulator.scenario import Scenario

TICK_S = 5.0
"""How often the dispatcher looks at the orders that wait."""

DECIDES_AFTER_S = 3.0
LONGEST_WAIT_S = 2_400.0
"""An order that no rider could take for this long is cancelled, so every order ends."""

STACK_RESTAURANT_M = 300.0
STACK_CUSTOMER_M = 900.0
"""Two orders are stacked if their restaurants, and their customers, are at most this far apart along streets."""


class Dispatcher:
    """Knows what has been received: a rider is free again once the report of the hand-over has arrived."""

    def __init__(
        self, scenario: Scenario, agenda: Agenda, rounds: Rounds, riders: Mapping[str, SimulatedRider]
    ) -> None:
        self._habits = scenario.habits
        self._agenda = agenda
        self._rounds = rounds
        self._riders = riders
        self._commands = Commands(scenario)
        self._chance = Random(f"{scenario.seed}/dispatcher")
        self._repeat_share, self._repeat_after_s = scenario.phone.repeat_share, scenario.phone.repeat_after_s
        self._waiting: list[SimulatedOrder] = []
        self._ticking = False
        self.orders: dict[str, SimulatedOrder] = {}
        """The orders that are not over."""

    def placed(self, order: SimulatedOrder) -> None:
        """Take a new order."""
        self.orders[order.order_id] = order
        self._send(self._commands.place(order))
        after_s = cancels_after_s(self._habits, self._chance)
        if after_s is not None:
            self._agenda.at(self._agenda.now_s + after_s, lambda: self._customer_cancels(order))
        self._wait(order)

    def received(self, command: SentCommand) -> None:
        """A command has reached the platform."""
        if command.verb in {Verb.COMPLETE, Verb.CANCEL}:
            order = self.orders.pop(command.order_id, None)
            if order is not None and order.rider_id is not None:
                self._riders[order.rider_id].known_orders.discard(command.order_id)

    def _wait(self, order: SimulatedOrder) -> None:
        self._waiting.append(order)
        if not self._ticking:
            self._ticking = True
            self._agenda.at(self._agenda.now_s + DECIDES_AFTER_S, self._tick)

    def _tick(self) -> None:
        now_s, waiting = self._agenda.now_s, self._waiting
        self._waiting = []
        for order in waiting:
            if order.is_over:
                continue
            rider = self._best_rider(order)
            if rider is not None:
                self._assign(order, rider)
            elif now_s - order.placed_s > LONGEST_WAIT_S:
                self._cancel(order, "no rider is free")
            else:
                self._waiting.append(order)
        self._ticking = bool(self._waiting)
        if self._ticking:
            self._agenda.at(now_s + TICK_S, self._tick)

    def _best_rider(self, order: SimulatedOrder) -> SimulatedRider | None:
        """The nearest rider who is free or may stack the order; None if there is none."""
        now_s = self._agenda.now_s
        found = [
            (street_distance_m(rider.motion(now_s).point, order.restaurant_at), rider.rider_id)
            for rider in self._riders.values()
            if rider.on_shift
            and not rider.is_leaving
            and rider.rider_id not in order.declined_by
            and (not rider.known_orders or self._may_stack(order, rider))
            and rider.phone.is_online(now_s)
        ]
        return self._riders[min(found)[1]] if found else None

    def _may_stack(self, order: SimulatedOrder, rider: SimulatedRider) -> bool:
        if not order.may_stack or len(rider.known_orders) >= MAX_ORDERS:
            return False
        others = [self.orders[order_id] for order_id in rider.known_orders]
        return all(
            other.stage is TrueStage.ASSIGNED
            and street_distance_m(other.restaurant_at, order.restaurant_at) <= STACK_RESTAURANT_M
            and street_distance_m(other.customer_at, order.customer_at) <= STACK_CUSTOMER_M
            for other in others
        )

    def _assign(self, order: SimulatedOrder, rider: SimulatedRider) -> None:
        now_s = self._agenda.now_s
        rider.known_orders.add(order.order_id)
        self._command(order, Verb.ASSIGN, {"rider_id": rider.rider_id})
        self._rounds.take(rider, order)
        if self._chance.random() < self._habits.decline_share:
            declines_s = now_s + self._chance.uniform(*self._habits.decline_after_s)
            self._agenda.at(declines_s, lambda: self._rider_declines(order, rider, now_s))

    def _rider_declines(self, order: SimulatedOrder, rider: SimulatedRider, assigned_s: float) -> None:
        is_theirs = order.stage is TrueStage.ASSIGNED and order.rider_id == rider.rider_id
        if not is_theirs or order.leg_began_s != assigned_s or not rider.phone.is_online(self._agenda.now_s):
            return
        self._command(order, Verb.UNASSIGN, {"reason": "the rider declined"})
        self._rounds.drop(rider, order, Verb.UNASSIGN)
        rider.known_orders.discard(order.order_id)
        order.declined_by.add(rider.rider_id)
        order.rider_id, order.stacked = None, False
        self._wait(order)

    def _customer_cancels(self, order: SimulatedOrder) -> None:
        if order.stage in {TrueStage.PLACED, TrueStage.ASSIGNED}:
            self._cancel(order, "the customer changed their mind")

    def _cancel(self, order: SimulatedOrder, reason: str) -> None:
        self._command(order, Verb.CANCEL, {"reason": reason})
        if order.stage is TrueStage.PLACED:
            order.happens(Verb.CANCEL)
        else:
            assert order.rider_id is not None, "an assigned order has a rider"
            self._rounds.drop(self._riders[order.rider_id], order, Verb.CANCEL)

    def _command(self, order: SimulatedOrder, verb: Verb, body: dict[str, Any]) -> None:
        self._send(self._commands.command(order, verb, self._agenda.now_s, body))

    def _send(self, command: SentCommand) -> None:
        self._agenda.send(command)
        if self._chance.random() < self._repeat_share:
            again_s = self._agenda.now_s + self._chance.uniform(*self._repeat_after_s)
            self._agenda.send(command._replace(send_at_s=again_s, kind=UploadKind.REPEAT))
