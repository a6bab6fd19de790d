"""Random commands on several orders and riders: a small model predicts every outcome, and both aggregates agree."""

from __future__ import annotations

from typing import Any

from eventsourcing.domain import Snapshot
from eventsourcing.persistence import StoredEvent
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.deliveries.commands import DeliveryCommand
from domain.errors import DomainError
from tests.support.postgres.delivery_events import local_mapper
from tests.unit.domain.delivery_model import DeliveryModel, Outcome
from tests.unit.domain.given import NOW_MS
from tests.unit.domain.given_delivery import VERBS, World, a_step, an_eta, an_order

ORDERS = tuple(f"order-{number}" for number in range(24))
RIDERS = ("anna", "ben")


class DeliveryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.model = DeliveryModel()
        self.stored: dict[Any, list[StoredEvent]] = {}
        self.after_ms = 0
        self.mapper = local_mapper()

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

    @rule(order_id=st.sampled_from(ORDERS[:3]), leg=st.sampled_from(["unassigned", "to_restaurant"]), key=keys)
    def answer_an_eta(self, order_id: str, leg: str, key: str | None) -> None:
        self.send(an_eta(leg, order_id, after_ms=self.after_ms, command_id=key))

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
        expected = self.model.expected(command)
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
            self.model.note(command)

    @invariant()
    def both_aggregates_agree(self) -> None:
        for rider_id, rider in self.world.riders.items():
            assert {(order, leg) for order, leg in rider.legs} == self.model.legs_of(rider_id)
            assert len(rider.legs) == len(self.model.legs_of(rider_id))

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
        for order_id, known in self.model.orders.items():
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
