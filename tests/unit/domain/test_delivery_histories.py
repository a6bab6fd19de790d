"""Two command sides on one log, with retries, repeats, lost answers and restarts: the log is an allowed history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from eventsourcing.persistence import OperationalError, StoredEvent
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.deliveries.application import Deliveries
from domain.deliveries.batch import CommandOutcome
from domain.deliveries.commands import DeliveryCommand
from domain.event_store import RecordedRef, Redecide
from domain.events.contracts import Codec
from domain.identifiers import aggregate_id
from domain.riders.application import Riders
from infrastructure.event_store.aggregates import EventStoreFactory
from tests.support.ports_in_memory.event_store import MemoryEventStore
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.worlds.delivery_history import check_history
from tests.unit.domain.delivery_model import DeliveryModel, Outcome
from tests.unit.domain.given import NOW_MS, a_ping
from tests.unit.domain.given_delivery import VERBS, a_step, an_eta, an_order

ORDERS = ("order-1", "order-2", "order-3")
STACK = tuple(f"stacked-{number}" for number in range(20))
RIDERS = ("anna", "ben")
CODEC = Codec(LocalSchemaIds())


class Store(MemoryEventStore):
    """Lets a test act between a decision and its append, and break a connection before or after the commit."""

    def __init__(self) -> None:
        super().__init__()
        self.before_append: Callable[[], object] | None = None
        self.breaks_before_commit = self.breaks_after_commit = False

    def append(self, events: Sequence[StoredEvent], redecide: Redecide) -> RecordedRef:
        act, self.before_append = self.before_append, None
        if act is not None:
            act()
        if self.breaks_before_commit:
            raise OperationalError("the connection broke before the commit")
        recorded = super().append(events, redecide)
        if self.breaks_after_commit:
            raise OperationalError("the connection broke after the commit")
        return recorded


class CommandSide(NamedTuple):
    """What one process executes commands with."""

    riders: Riders
    deliveries: Deliveries


def a_command(verb: str, order_id: str, rider_id: str, key: str | None, at_ms: int | None) -> DeliveryCommand:
    if verb == "place":
        return an_order(order_id, command_id=key)
    if verb == "record-eta":
        return an_eta("unassigned", order_id, command_id=key)
    fields: dict[str, Any] = {"rider_id": rider_id} if verb == "assign" else {}
    return a_step(verb, order_id, command_id=key, at_ms=at_ms, **fields)


commands = st.builds(
    a_command,
    # Rather the steps of a life in their order than chance alone.
    st.sampled_from(["place", "place", "assign", "assign", "pickup", "pickup", "record-eta", *VERBS]),
    st.sampled_from(ORDERS),
    st.sampled_from(RIDERS),
    st.none() | st.sampled_from(["key-1", "key-2"]),
    st.none() | st.just(NOW_MS + 500),
)
batches = st.lists(commands, min_size=1, max_size=5)
writers = st.integers(0, 1)


class DeliveryHistories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.model = DeliveryModel()
        self.sent: list[DeliveryCommand] = []
        self.sides = [self.command_side(), self.command_side()]
        self.seconds = 0

    def command_side(self) -> CommandSide:
        riders = Riders(EventStoreFactory(self.store, self.store.snapshots, CODEC), self.store, snapshot_every=5)
        return CommandSide(riders, Deliveries(riders, snapshot_every=3))

    def received(self, batch: Sequence[DeliveryCommand]) -> list[DeliveryCommand]:
        self.seconds += 1
        return [replace(command, received_ms=NOW_MS + self.seconds * 1_000) for command in batch]

    @rule(writer=writers, batch=batches)
    def execute(self, writer: int, batch: list[DeliveryCommand]) -> None:
        batch = self.received(batch)
        self.sent += batch
        outcomes = self.sides[writer].deliveries.execute(batch)
        assert seen(outcomes) == [self.model.execute(command) for command in batch]
        self.check_positions(batch, outcomes)

    @rule(writer=writers, data=st.data())
    def send_again(self, writer: int, data: st.DataObject) -> None:
        """A client that lost the answer sends the very same request, to whichever process."""
        if self.sent:
            again = data.draw(st.lists(st.sampled_from(self.sent), min_size=1, max_size=3))
            outcomes = self.sides[writer].deliveries.execute(again)
            assert seen(outcomes) == [self.model.execute(command) for command in again]

    @rule(writer=writers, first=batches, second=batches)
    def execute_at_once(self, writer: int, first: list[DeliveryCommand], second: list[DeliveryCommand]) -> None:
        """The other process commits after this one has decided, and before it appends."""
        one, other = self.sides[writer], self.sides[1 - writer]
        first, second = self.received(first), self.received(second)
        self.sent += [*first, *second]
        before = self.model.copy()
        acted: list[CommandOutcome] = []
        self.store.before_append = lambda: acted.extend(other.deliveries.execute(second))
        outcomes = seen(one.deliveries.execute(first))
        if len(acted) == len(second):
            assert seen(acted) == [self.model.execute(command) for command in second]
        else:  # nothing had to be recorded, so that nothing was appended
            self.store.before_append = None
        after = self.model.copy()
        if outcomes == [after.execute(command) for command in first]:
            self.model = after
            return
        # Without a conflict the batch was decided before the other one, and what it recorded is allowed after it too.
        assert outcomes == [before.execute(command) for command in first]
        for command, outcome in zip(first, outcomes, strict=True):
            if outcome is True:
                assert self.model.execute(command) is True

    @rule(writer=writers, batch=batches, recorded=st.booleans())
    def break_the_connection(self, writer: int, batch: list[DeliveryCommand], recorded: bool) -> None:
        """The process cannot know whether its batch was recorded; sending it again shows it."""
        batch = self.received(batch)
        self.store.breaks_after_commit, self.store.breaks_before_commit = recorded, not recorded
        try:
            outcomes = self.sides[writer].deliveries.execute(batch)
        except OperationalError:
            if recorded:
                for command in batch:
                    self.model.execute(command)
        else:
            assert seen(outcomes) == [self.model.execute(command) for command in batch]
        finally:
            self.store.breaks_after_commit = self.store.breaks_before_commit = False
        self.sent += batch
        outcomes = self.sides[writer].deliveries.execute(batch)
        assert seen(outcomes) == [self.model.execute(command) for command in batch]

    @rule(writer=writers, count=st.sampled_from([3, 20]))
    def stack_orders(self, writer: int, count: int) -> None:
        orders = self.received([an_order(order_id) for order_id in STACK[:count]])
        assigned = self.received([a_step("assign", order_id) for order_id in STACK[:count]])
        self.execute_whole(writer, [*orders, *assigned])

    @rule(writer=writers, verb=st.sampled_from(["pickup", "complete", "cancel"]), count=st.sampled_from([3, 20]))
    def step_stacked_orders(self, writer: int, verb: str, count: int) -> None:
        self.execute_whole(writer, self.received([a_step(verb, order_id) for order_id in STACK[:count]]))

    def execute_whole(self, writer: int, batch: list[DeliveryCommand]) -> None:
        outcomes = self.sides[writer].deliveries.execute(batch)
        assert seen(outcomes) == [self.model.execute(command) for command in batch]

    @rule(writer=writers, rider_id=st.sampled_from(RIDERS))
    def record_pings(self, writer: int, rider_id: str) -> None:
        self.seconds += 1
        at_ms = NOW_MS + self.seconds * 1_000
        (outcome,) = self.sides[writer].riders.record_pings([a_ping(rider_id, at_ms, received_ms=at_ms)])
        assert outcome.is_new

    @rule(writer=writers)
    def restart(self, writer: int) -> None:
        self.sides[writer] = self.command_side()

    def check_positions(self, batch: Sequence[DeliveryCommand], outcomes: Sequence[CommandOutcome]) -> None:
        """The last outcome of an order names the order's last event."""
        last = {c.order_id: o for c, o in zip(batch, outcomes, strict=True) if o.delivery is not None}
        for order_id, outcome in last.items():
            aggregate = aggregate_id("Delivery", order_id)
            latest = self.store.latest([aggregate])[aggregate]
            assert outcome.delivery is not None
            assert (outcome.delivery.version, outcome.delivery.position) == latest
            assert outcome.position == latest.position

    @invariant()
    def the_log_is_an_allowed_history(self) -> None:
        found = check_history(self.store.log, CODEC.decode)
        assert {order_id: known.status for order_id, known in found.orders.items()} == {
            order_id: known.status for order_id, known in self.model.orders.items()
        }
        for rider_id in RIDERS:
            assert found.legs.get(rider_id, set()) == self.model.legs_of(rider_id)


def seen(outcomes: Sequence[CommandOutcome]) -> list[Outcome]:
    return [type(o.rejection) if o.rejection else o.recorded for o in outcomes]


TestDeliveryHistories = DeliveryHistories.TestCase
TestDeliveryHistories.settings = settings(max_examples=30, stateful_step_count=15, deadline=None)
