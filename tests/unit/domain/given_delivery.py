"""given/when/then for a Delivery and its rider: past commands, one command, new events of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from domain.deliveries.commands import (
    Arrive,
    Assign,
    Cancel,
    Complete,
    DeliveryCommand,
    PickUp,
    PlaceOrder,
    RecordEta,
    Unassign,
)
from domain.deliveries.decide import decide, rider_of
from domain.deliveries.delivery import Delivery
from domain.deliveries.events import DeliveryEvent
from domain.deliveries.values import Coordinates, DeliverySnapshot
from domain.errors import DomainError
from domain.riders.events import RiderEvent
from domain.riders.rider import Rider
from tests.unit.domain.given import NOW_MS

RESTAURANT = Coordinates(52.51, 13.41)
CUSTOMER = Coordinates(52.53, 13.38)
VERBS: dict[str, type[DeliveryCommand]] = {
    each.VERB: each for each in (Assign, Unassign, PickUp, Arrive, Complete, Cancel)
}


def an_order(order_id: str = "order-1", **fields: Any) -> PlaceOrder:
    values: dict[str, Any] = {
        "received_ms": NOW_MS,
        "restaurant": RESTAURANT,
        "customer": CUSTOMER,
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
    }
    return PlaceOrder(order_id=order_id, **(values | fields))


def a_step(verb: str, order_id: str = "order-1", **fields: Any) -> DeliveryCommand:
    """A transition, received as the ``after_ms``th millisecond after NOW_MS; ``assign`` is to anna by default."""
    received_ms = NOW_MS + fields.pop("after_ms", 1_000)
    if verb == "assign":
        fields.setdefault("rider_id", "anna")
    return VERBS[verb](order_id=order_id, received_ms=received_ms, **fields)


def an_eta(leg: str, order_id: str = "order-1", **fields: Any) -> RecordEta:
    """The first answer of the ETA in a leg, given at the ``after_ms``th millisecond after NOW_MS."""
    at_ms = NOW_MS + fields.pop("after_ms", 2_000)
    values: dict[str, Any] = {
        "received_ms": at_ms,
        "at_ms": at_ms,
        "p50_seconds": 120.0,
        "p90_seconds": 300.0,
        "model_digest": "model",
    }
    return RecordEta(order_id=order_id, leg=leg, **(values | fields))


class World:
    """Deliveries and riders after commands that were decided one by one, without a store."""

    def __init__(self) -> None:
        self.deliveries: dict[str, Delivery] = {}
        self.riders: dict[str, Rider] = {}

    def execute(self, command: DeliveryCommand) -> bool:
        command.check()
        delivery = self.deliveries.get(command.order_id)
        rider_id = rider_of(command, delivery)
        decided = decide(command, delivery, None if rider_id is None else self.riders.get(rider_id))
        self.deliveries[command.order_id] = decided.delivery
        if decided.rider is not None:
            self.riders[decided.rider.rider_id] = decided.rider
        return decided.recorded

    def collect(self) -> tuple[list[DeliveryEvent], list[RiderEvent]]:
        """New events, in the order of each stream."""
        deliveries: list[Any] = [event for each in self.deliveries.values() for event in each.collect_events()]
        riders: list[Any] = [event for each in self.riders.values() for event in each.collect_events()]
        return deliveries, riders


class GivenDelivery:
    """``order-1`` is placed, and the ``past`` commands are recorded; a verb stands for its plain command."""

    def __init__(self, *past: DeliveryCommand | str, placed: bool = True) -> None:
        self._world = World()
        commands: list[DeliveryCommand] = [an_order()] if placed else []
        commands += [a_step(each) if isinstance(each, str) else each for each in past]
        for command in commands:
            assert self._world.execute(command)
        self._world.collect()

    def when(self, command: DeliveryCommand | str, **fields: Any) -> ThenDelivery:
        wanted = a_step(command) if isinstance(command, str) else command
        wanted = replace(wanted, **fields)
        try:
            return ThenDelivery(self._world, self._world.execute(wanted), None)
        except DomainError as error:
            return ThenDelivery(self._world, False, error)


class ThenDelivery:
    def __init__(self, world: World, recorded: bool, error: DomainError | None) -> None:
        self._world = world
        self._recorded = recorded
        self._error = error
        self.deliveries: Sequence[DeliveryEvent] = ()
        self.riders: Sequence[RiderEvent] = ()

    @property
    def delivery(self) -> DeliverySnapshot:
        return self._world.deliveries["order-1"].snapshot(7)

    def rider(self, rider_id: str = "anna") -> Rider:
        return self._world.riders[rider_id]

    def then(self, delivery: type[DeliveryEvent], *riders: type[RiderEvent]) -> ThenDelivery:
        """One event of the delivery, and these of its rider, all with one origin."""
        if self._error is not None:
            raise self._error
        assert self._recorded
        self.deliveries, self.riders = self._world.collect()
        assert [type(event) for event in self.deliveries] == [delivery]
        assert [type(event) for event in self.riders] == list(riders)
        (cause,) = self.deliveries
        for event in self.riders:
            assert (event.command_id, event.caused_by) == (cause.command_id, cause.event_id)
        assert cause.command_id
        assert not cause.caused_by
        return self

    def then_repeated(self) -> ThenDelivery:
        """Nothing was recorded, and that is no error."""
        if self._error is not None:
            raise self._error
        assert not self._recorded
        assert self._world.collect() == ([], [])
        return self

    def then_refused(self, error: type[DomainError], words: str = "") -> None:
        """The command was rejected with this error, and nothing changed."""
        if self._error is None:
            pytest.fail(f"not refused; expected {error.__name__}")
        assert type(self._error) is error, self._error
        assert words in str(self._error)
        assert self._world.collect() == ([], [])
