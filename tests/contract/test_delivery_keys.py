"""Invariant 15: a delivery keeps its latest keys alone, and yet every key is known for the order's whole life."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.domain import Snapshot
from eventsourcing.persistence import StoredEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from domain.deliveries.application import Deliveries
from domain.deliveries.commands import DeliveryCommand
from domain.deliveries.delivery import MAX_KEPT_KEYS, Delivery
from domain.deliveries.joint_backfill import JointBackfill
from domain.errors import IdempotencyConflict
from domain.event_store import CommandRef, RecordedRef, Redecide
from domain.events.contracts import Codec
from domain.identifiers import aggregate_id
from domain.riders.application import Riders
from infrastructure.event_store.aggregates import EventStoreFactory, LogEvent, SnapshotRecorder
from infrastructure.event_store.log_reader import PostgresHistory
from infrastructure.event_store.queries import FIND_COMMANDS, find_commands
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import writer_engine
from infrastructure.timestamps import now_ms
from tests.support.ports_in_memory.event_store import MemoryEventStore
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.unit.domain.delivery_model import DeliveryModel, Outcome
from tests.unit.domain.given_delivery import a_step, an_order

CODEC = Codec(LocalSchemaIds())
MakeRiders = Callable[[], Riders]
"""The riders of another process on one event store."""
ORDER = aggregate_id("Delivery", "order-1")


class BusyStore(MemoryEventStore):
    """Lets a test act between a decision and its append, as another process does."""

    before_append: Callable[[], object] | None = None

    def append(self, events: Sequence[StoredEvent], redecide: Redecide) -> RecordedRef:
        act, self.before_append = self.before_append, None
        if act is not None:
            act()
        return super().append(events, redecide)


def in_memory(store: MemoryEventStore) -> MakeRiders:
    return lambda: Riders(EventStoreFactory(store, store.snapshots, CODEC), store)


def deliveries_of(make: MakeRiders) -> Deliveries:
    return Deliveries(make(), snapshot_every=10)


@pytest.fixture(params=["memory", "postgres"])
def make_riders(request: pytest.FixtureRequest) -> Iterator[MakeRiders]:
    if request.param == "memory":
        yield in_memory(MemoryEventStore())
        return
    engine = writer_engine(request.getfixturevalue("postgres_url"))

    def on_postgres() -> Riders:
        recorder = EventRecorder(engine, partition_rows=100)
        return Riders(EventStoreFactory(recorder, SnapshotRecorder(engine), CODEC), PostgresHistory(engine))

    yield on_postgres
    engine.dispose()


def assignments(count: int, first: int = 0, **fields: Any) -> list[DeliveryCommand]:
    """Assignments and unassignments in turn, each with a key of its own and its own time."""
    return [
        a_step("unassign" if number % 2 else "assign", command_id=f"key-{number}", after_ms=1_000 + number, **fields)
        for number in range(first, first + count)
    ]


def seen(deliveries: Deliveries, commands: Sequence[DeliveryCommand]) -> list[Outcome]:
    return [type(o.rejection) if o.rejection else o.recorded for o in deliveries.execute(commands)]


def another(command: DeliveryCommand) -> DeliveryCommand:
    """Another command under the same key."""
    return a_step("cancel", command_id=command.command_id, reason="another")


def check_a_life(make: MakeRiders, chance: random.Random, count: int) -> None:
    """A long life: new commands, and all earlier ones sent again, in batches, by two processes that restart."""
    model, sides = DeliveryModel(), [deliveries_of(make), deliveries_of(make)]
    sent: list[DeliveryCommand] = [an_order(command_id="key of the order")]
    assert seen(sides[0], sent) == [model.execute(sent[0])]
    upcoming = assignments(count)
    while upcoming:
        batch: list[DeliveryCommand] = []
        for _ in range(chance.randrange(1, 40)):
            kind = chance.choice(["new", "new", "new", "again", "conflict"])
            if kind == "new" and upcoming:
                sent.append(upcoming.pop(0))
                batch.append(sent[-1])
            else:
                old = chance.choice(sent)
                batch.append(replace(old, received_ms=old.received_ms + 5) if kind == "again" else another(old))
        if chance.random() < 0.1:
            sides[chance.randrange(2)] = deliveries_of(make)
        assert seen(sides[chance.randrange(2)], batch) == [model.execute(command) for command in batch]
    assert seen(deliveries_of(make), sent) == [False] * len(sent)
    assert seen(deliveries_of(make), [another(command) for command in sent]) == [IdempotencyConflict] * len(sent)


@settings(max_examples=15, deadline=None)
@given(chance=st.randoms(use_true_random=False), count=st.integers(MAX_KEPT_KEYS, 4 * MAX_KEPT_KEYS))
def test_every_key_is_known_in_a_life_that_has_more_than_the_delivery_keeps(chance: random.Random, count: int) -> None:
    check_a_life(in_memory(MemoryEventStore()), chance, count)


def test_every_key_is_known_on_each_event_store(make_riders: MakeRiders) -> None:
    check_a_life(make_riders, random.Random(7), 3 * MAX_KEPT_KEYS)


def test_invariant_15_the_state_of_a_delivery_is_bounded() -> None:
    store = MemoryEventStore()
    deliveries = deliveries_of(in_memory(store))
    deliveries.execute([an_order()])
    for first in range(0, 2_000, 500):
        deliveries.execute(assignments(500, first))
    kept = deliveries._live.load(["order-1"])["order-1"]
    assert kept is not None
    assert list(kept.keys) == [f"key-{number}" for number in range(2_000 - MAX_KEPT_KEYS, 2_000)]
    assert len(deliveries._live._store.mapper.to_stored_event(Snapshot.take(kept)).state) < 16_000


def test_invariant_15_a_stored_snapshot_with_every_key_is_loaded_with_the_latest() -> None:
    state = {"keys": {f"key-{number}": "digest" for number in range(MAX_KEPT_KEYS + 3)}}
    Delivery.upcast_v1_v2(state)
    assert list(state["keys"]) == [f"key-{number}" for number in range(3, MAX_KEPT_KEYS + 3)]


def test_a_usual_life_looks_no_key_up() -> None:
    class Watched(MemoryEventStore):
        def find_commands(self, refs: Sequence[CommandRef]) -> dict[CommandRef, list[StoredEvent]]:
            raise AssertionError("a look-up")

    deliveries = deliveries_of(in_memory(Watched()))
    deliveries.execute([an_order()])
    assert seen(deliveries, assignments(20) + assignments(20)) == [True] * 20 + [False] * 20


def test_a_key_that_the_commands_of_its_own_batch_push_out_is_known() -> None:
    deliveries = deliveries_of(in_memory(MemoryEventStore()))
    deliveries.execute([an_order()])
    first = assignments(MAX_KEPT_KEYS)
    deliveries.execute(first)
    second = assignments(2 * MAX_KEPT_KEYS, MAX_KEPT_KEYS)
    batch = [*second, first[0], second[0], another(first[1]), another(second[1])]
    expected = [False, False, IdempotencyConflict, IdempotencyConflict]
    assert seen(deliveries, batch) == [True] * len(second) + expected


def test_a_key_that_another_process_uses_meanwhile_is_found_inside_the_lock() -> None:
    """The look-up of the first decision found nothing; the delivery that is loaded again has forgotten the key."""
    store = BusyStore()
    one, other = deliveries_of(in_memory(store)), deliveries_of(in_memory(store))
    one.execute([an_order(), *assignments(MAX_KEPT_KEYS)])
    old, upcoming = a_step("assign", command_id="the key"), assignments(2 * MAX_KEPT_KEYS, MAX_KEPT_KEYS + 1)
    store.before_append = lambda: other.execute([old, *upcoming])
    assert seen(one, [old]) == [False]
    assert sum(event.command_id == "the key" and event.aggregate_type == "Delivery" for event in store.log) == 1


def test_a_made_id_that_a_client_uses_as_its_key_is_no_key() -> None:
    """It can compute the id of a command without a key."""
    store = MemoryEventStore()
    deliveries = deliveries_of(in_memory(store))
    deliveries.execute([an_order(), a_step("assign")])
    made = store.log[1].command_id
    deliveries.execute(assignments(MAX_KEPT_KEYS, 1))
    assert seen(deliveries, [a_step("unassign", command_id=made)]) == [True]
    deliveries.execute(assignments(MAX_KEPT_KEYS, 66))
    assert seen(deliveries, [a_step("unassign", command_id=made)]) == [False]
    assert seen(deliveries, [a_step("cancel", command_id=made)]) == [IdempotencyConflict]


def test_a_command_that_cannot_be_read_is_not_recorded_again() -> None:
    """Its event is before the snapshot that the delivery is loaded from, so that the delivery itself is readable."""
    store = MemoryEventStore()
    commands = assignments(MAX_KEPT_KEYS + 20)
    deliveries_of(in_memory(store)).execute([an_order(), *commands[:-1]])
    deliveries_of(in_memory(store)).execute(commands[-1:])
    position = next(p for p, event in enumerate(store.log) if event.command_id == "key-0")
    store.log[position] = replace(store.log[position], state=b"\x00\x00\x00\x27\x0f no contract")
    deliveries = deliveries_of(in_memory(store))
    assert seen(deliveries, [commands[0], commands[1]]) == [IdempotencyConflict, False]


def test_history_knows_every_key(make_riders: MakeRiders) -> None:
    backfill = JointBackfill(make_riders())
    order, commands = an_order(command_id="key of the order"), assignments(3 * MAX_KEPT_KEYS)
    found = backfill.record([order, *commands, order, commands[0], another(commands[1])])
    assert [outcome.is_new for outcome in found] == [True] * (1 + len(commands)) + [False] * 3
    assert isinstance(found[-1].rejection, IdempotencyConflict)
    late = [replace(command, received_ms=commands[-1].received_ms) for command in (commands[0], another(commands[1]))]
    again = backfill.record(late)
    assert [type(outcome.rejection) for outcome in again] == [type(None), IdempotencyConflict]


def test_an_old_key_is_found_through_the_index_on_commands(postgres_url: str) -> None:
    engine = writer_engine(postgres_url)
    recorder = EventRecorder(engine, partition_rows=100_000)
    events = [
        LogEvent(ORDER, n, "DeliveryAssigned", b"x" * 100, "Delivery", "order-1", UUID(int=n), now_ms(), 0, f"key-{n}")
        for n in range(1, 5_001)
    ]
    recorder.insert_events(events)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE events"))
        found = find_commands(connection, [CommandRef(ORDER, "key-17"), CommandRef(ORDER, "no such key")])
        assert [event.originator_version for event in found[CommandRef(ORDER, "key-17")]] == [17]
        assert len(found) == 1
        values = {"aggregates": [str(ORDER)], "ids": ["key-17"]}
        plan = list(connection.execute(text(f"EXPLAIN {FIND_COMMANDS.text}"), values).scalars())
    assert any("command_id_idx" in line for line in plan), plan
    engine.dispose()
