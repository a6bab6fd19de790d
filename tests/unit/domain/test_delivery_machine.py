"""Random commands on several orders and riders: a small model predicts every outcome, and both aggregates agree."""

from __future__ import annotations

from typing import Any

from eventsourcing.domain import Snapshot
from eventsourcing.persistence import DatetimeAsISO, DecimalAsStr, JSONTranscoder, StoredEvent, UUIDAsHex
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.deliveries.commands import DeliveryCommand, PlaceOrder
from domain.errors import (
    DeliveryExists,
    DomainError,
    IdempotencyConflict,
    OtherRider,
    TooManyLegs,
    UnknownDelivery,
    WrongStatus,
)
from domain.events.contracts import Codec
from infrastructure.event_store.aggregates import AvroMapper
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.unit.domain.given import NOW_MS
from tests.unit.domain.given_delivery import VERBS, World, a_step, an_order

ORDERS = tuple(f"order-{number}" for number in range(24))
RIDERS = ("anna", "ben")
LEG_OF = {"assigned": "to_restaurant", "picked_up": "to_customer", "arrived": "to_customer"}
NEXT = {
    ("placed", "assign"): "assigned",
    ("assigned", "unassign"): "placed",
    ("assigned", "pickup"): "picked_up",
    ("picked_up", "arrive"): "arrived",
    ("picked_up", "complete"): "completed",
    ("arrived", "complete"): "completed",
    **{(status, "cancel"): "cancelled" for status in ("placed", "assigned", "picked_up", "arrived")},
}
Outcome = bool | type[DomainError]


class OrderModel:
    """What is known of one order, in the words of the contract."""

    def __init__(self, placed: PlaceOrder) -> None:
        self.status = "placed"
        self.rider: str | None = None
        self.items = placed.items
        self.holds: dict[str, tuple[int, str | None]] = {}
        self.keys: dict[str, tuple[Any, ...]] = {}
        self.latest_ms = 0


def body_of(command: DeliveryCommand) -> tuple[Any, ...]:
    return command.VERB, command.at_ms, command.argument, getattr(command, "items", None)


class DeliveryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.orders: dict[str, OrderModel] = {}
        self.stored: dict[Any, list[StoredEvent]] = {}
        self.after_ms = 0
        transcoder = JSONTranscoder()
        for transcoding in (UUIDAsHex(), DecimalAsStr(), DatetimeAsISO()):
            transcoder.register(transcoding)
        self.mapper = AvroMapper(transcoder, Codec(LocalSchemaIds()))

    keys = st.none() | st.sampled_from(["key-1", "key-2", "key-3"])
    times = st.none() | st.sampled_from([NOW_MS, NOW_MS + 500])

    @rule(first=st.integers(0, 23), count=st.integers(1, 24), items=st.none() | st.integers(1, 2), key=keys)
    def place(self, first: int, count: int, items: int | None, key: str | None) -> None:
        for order_id in ORDERS[first : first + count]:
            self.send(an_order(order_id, items=items, command_id=key))

    @rule(
        order_id=st.sampled_from(ORDERS[:3]),
        verb=st.sampled_from(sorted(VERBS)),
        rider_id=st.sampled_from(RIDERS),
        at_ms=times,
        key=keys,
    )
    def step(self, order_id: str, verb: str, rider_id: str, at_ms: int | None, key: str | None) -> None:
        fields: dict[str, Any] = {"rider_id": rider_id} if verb == "assign" else {}
        self.send(a_step(verb, order_id, after_ms=self.after_ms, at_ms=at_ms, command_id=key, **fields))

    @rule(verb=st.sampled_from(sorted(VERBS)), count=st.integers(1, 24))
    def step_of_many(self, verb: str, count: int) -> None:
        for order_id in ORDERS[:count]:
            self.send(a_step(verb, order_id, after_ms=self.after_ms))

    @rule(name=st.sampled_from([*ORDERS[:3], *RIDERS]))
    def restart_from_a_snapshot(self, name: str) -> None:
        """What a snapshot stores of an aggregate is all that it needs."""
        held: dict[str, Any] = self.world.deliveries if name in ORDERS else self.world.riders
        if name in held:
            stored = self.mapper.to_stored_event(Snapshot.take(held[name]))
            snapshot: Any = self.mapper.to_domain_event(stored)
            held[name] = snapshot.mutate(None)

    def send(self, command: DeliveryCommand) -> None:
        self.after_ms += 1_000
        expected = self.expected(command)
        found: Outcome
        try:
            found = self.world.execute(command)
        except DomainError as error:
            found = type(error)
        assert found == expected, (command, found, expected)
        deliveries, riders = self.world.collect()
        assert bool(deliveries) is (found is True)
        for event in (*deliveries, *riders):
            self.stored.setdefault(event.originator_id, []).append(self.mapper.to_stored_event(event))
        if found is True:
            self.note(command)

    def expected(self, command: DeliveryCommand) -> Outcome:
        known = self.orders.get(command.order_id)
        if known is None:
            return True if isinstance(command, PlaceOrder) else UnknownDelivery
        if command.command_id in known.keys:
            return False if known.keys[command.command_id] == body_of(command) else IdempotencyConflict
        if isinstance(command, PlaceOrder):
            return False if command.items in (None, known.items) else DeliveryExists
        if command.VERB in known.holds:
            at_ms, argument = known.holds[command.VERB]
            if command.at_ms in (None, at_ms) and command.argument in (None, argument):
                return False
        if (known.status, command.VERB) not in NEXT:
            other = command.VERB == "assign" and known.status == "assigned" and command.argument != known.rider
            return OtherRider if other else WrongStatus
        if command.VERB == "assign" and len(self.legs_of(command.argument)) == 20:
            return TooManyLegs
        return True

    def note(self, command: DeliveryCommand) -> None:
        if isinstance(command, PlaceOrder):
            known = self.orders[command.order_id] = OrderModel(command)
        else:
            known = self.orders[command.order_id]
            known.status = NEXT[known.status, command.VERB]
            known.holds.pop({"assign": "unassign", "unassign": "assign"}.get(command.VERB, ""), None)
            known.holds[command.VERB] = (command.happened_ms, command.argument)
            known.rider = {"assign": command.argument, "unassign": None}.get(command.VERB, known.rider)
        if command.command_id is not None:
            known.keys[command.command_id] = body_of(command)

    def legs_of(self, rider_id: str | None) -> set[tuple[str, str]]:
        """The legs that the statuses of the orders give a rider."""
        return {
            (order_id, LEG_OF[known.status])
            for order_id, known in self.orders.items()
            if known.rider == rider_id and known.status in LEG_OF
        }

    @invariant()
    def both_aggregates_agree(self) -> None:
        for rider_id, rider in self.world.riders.items():
            assert {(order, leg) for order, leg in rider.legs} == self.legs_of(rider_id)
            assert len(rider.legs) == len(self.legs_of(rider_id))

    @invariant()
    def the_stored_events_give_the_same_aggregates(self) -> None:
        for held in (*self.world.deliveries.values(), *self.world.riders.values()):
            loaded: Any = None
            for event in self.stored[held.id]:
                loaded = self.mutated(event, loaded)
            assert vars(loaded) == vars(held)

    def mutated(self, event: StoredEvent, aggregate: Any) -> Any:
        domain_event: Any = self.mapper.to_domain_event(event)
        return domain_event.mutate(aggregate)

    @invariant()
    def the_answer_is_that_of_the_model(self) -> None:
        for order_id, known in self.orders.items():
            shown = self.world.deliveries[order_id].snapshot(1)
            assert (shown.status, shown.rider_id, shown.items) == (known.status, known.rider, known.items)
            times = {
                "assign": shown.assigned_at_ms,
                "pickup": shown.picked_up_at_ms,
                "arrive": shown.arrived_at_ms,
                "complete": shown.completed_at_ms,
                "cancel": shown.cancelled_at_ms,
            }
            assert times == {verb: known.holds.get(verb, (None,))[0] for verb in times}


TestDeliveryMachine = DeliveryMachine.TestCase
TestDeliveryMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
