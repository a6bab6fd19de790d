"""Deliveries that are loaded, evicted, damaged, detached or restored, on every event store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.domain import Snapshot
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent
from sqlalchemy import text

from domain.deliveries.application import Deliveries
from domain.deliveries.delivery import Delivery
from domain.errors import (
    UnknownDelivery,
    UnreadableDelivery,
    WrongStatus,
)
from domain.event_store import RecordedRef, RecordedVersion, Redecide
from domain.identifiers import aggregate_id
from domain.riders.application import Riders
from infrastructure.event_store.aggregates import EventStoreFactory, LogEvent, SnapshotRecorder
from infrastructure.event_store.log_reader import PostgresHistory
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import writer_engine
from tests.contract.delivery_processes import CODEC, MakeProcess, Process, codes, processes
from tests.support.ports_in_memory.event_store import MemoryEventStore
from tests.unit.domain.given import NOW_MS
from tests.unit.domain.given_delivery import a_step, an_eta, an_order


@pytest.fixture(params=["memory", "postgres"])
def make_process(request: pytest.FixtureRequest) -> Iterator[MakeProcess]:
    with processes(None if request.param == "memory" else request.getfixturevalue("postgres_url")) as make:
        yield make


def test_a_batch_whose_commit_failed_leaves_nothing_in_memory(make_process: MakeProcess) -> None:
    process = make_process()
    process.deliveries.execute([an_order()])
    recorder: Any = process.riders.recorder
    append = process.riders.command_log._append

    def lost_answer(events: Sequence[StoredEvent], redecide: Redecide) -> RecordedRef:
        append(events, redecide)
        raise OperationalError("the connection broke after the commit")

    def refused(events: Sequence[StoredEvent], redecide: Redecide) -> RecordedRef:
        raise OperationalError("the connection broke before the commit")

    for broken, expected in ((refused, "recorded"), (lost_answer, "repeat")):
        verb = "assign" if broken is refused else "pickup"
        process.riders.command_log._append = broken
        with pytest.raises(OperationalError):
            process.deliveries.execute([a_step(verb)])
        process.riders.command_log._append = append
        assert codes(process.deliveries.execute([a_step(verb)])) == [expected]
    assert recorder.max_notification_id() == 7


def test_snapshots_of_deliveries_are_taken_and_loaded(make_process: MakeProcess) -> None:
    process = make_process(snapshot_every=2)
    process.deliveries.execute([an_order(command_id="k-1"), a_step("assign", command_id="k-2"), a_step("pickup")])
    fresh = make_process(snapshot_every=2)
    assert codes(fresh.deliveries.execute([a_step("assign", command_id="k-2"), a_step("arrive")])) == [
        "repeat",
        "recorded",
    ]
    assert fresh.deliveries.get("order-1") == process.deliveries.get("order-1")
    assert fresh.deliveries.get("order-1").version == 4


def test_a_delivery_whose_events_were_all_detached_resumes_from_its_snapshot(postgres_url: str) -> None:
    """As a rider does. One without a snapshot is unknown: it had fewer events than a snapshot is taken at."""
    engine = writer_engine(postgres_url)

    def process() -> Process:
        recorder = EventRecorder(engine, partition_rows=1000)
        riders = Riders(EventStoreFactory(recorder, SnapshotRecorder(engine), CODEC), PostgresHistory(engine))
        return Process(riders, Deliveries(riders, snapshot_every=2))

    first = process()
    first.deliveries.execute([an_order(), a_step("assign"), an_order("order-2")])
    before = first.deliveries.get("order-1")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM events"))  # as a partition that is detached: the head stays
    assert process().deliveries.get("order-1") == replace(before, position=0)
    with pytest.raises(UnknownDelivery):
        process().deliveries.get("order-2")
    one = process()
    assert codes(one.deliveries.execute([a_step("assign"), an_eta("to_restaurant"), a_step("cancel", "order-2")])) == [
        "repeat",
        "recorded",
        UnknownDelivery,
    ]
    assert process().deliveries.get("order-1") == replace(before, version=3, position=6)
    engine.dispose()


def test_regression_a_delivery_that_is_detached_while_it_is_read_is_no_key_error() -> None:
    class Detaching(MemoryEventStore):
        def latest(self, aggregates: Iterable[UUID]) -> dict[UUID, RecordedVersion]:
            return {}

    store = Detaching()
    riders = Riders(EventStoreFactory(store, store.snapshots, CODEC), store)
    deliveries = Deliveries(riders, snapshot_every=2)
    deliveries.execute([an_order(), a_step("assign")])
    shown = deliveries.get("order-1")
    assert (shown.status, shown.version, shown.position) == ("assigned", 2, 0)


def test_a_delivery_that_is_not_in_memory_any_more_is_loaded_again(make_process: MakeProcess) -> None:
    process = make_process(cached_deliveries=2)
    process.deliveries.execute([an_order(f"order-{number}") for number in range(6)])
    outcomes = process.deliveries.execute([a_step("assign", f"order-{number}") for number in range(6)])
    assert codes(outcomes) == ["recorded"] * 6


def test_invariant_10_an_unreadable_event_stops_its_order_alone(make_process: MakeProcess) -> None:
    make_process().deliveries.execute([an_order("order-1"), an_order("order-2")])
    recorder: Any = make_process().riders.recorder
    unreadable = LogEvent(
        aggregate_id("Delivery", "order-1"), 2, "DeliveryAssigned", b"\x00\x00\x00\x27\x0f no contract", "Delivery",
        "order-1", UUID(int=7), NOW_MS,
    )  # fmt: skip
    recorder.insert_events([unreadable])
    process = make_process()
    outcomes = process.deliveries.execute([a_step("assign", "order-1"), a_step("assign", "order-2")])
    assert codes(outcomes) == [UnreadableDelivery, "recorded"]
    with pytest.raises(UnreadableDelivery):
        process.deliveries.get("order-1")


def test_a_snapshot_ahead_of_the_log_fails_the_commands_on_its_order_alone(make_process: MakeProcess) -> None:
    """Such as a table of snapshots that was restored to another instant than the log. The writer must not loop."""
    process = make_process()
    process.deliveries.execute([an_order("order-1"), an_order("order-2")])
    delivery = Delivery.place(an_order("order-1"))
    delivery.collect_events()
    delivery.version = 9
    assert process.riders.store.snapshots is not None
    process.riders.store.snapshots.put([Snapshot.take(delivery)])
    fresh = make_process()
    with pytest.raises(IntegrityError, match="1 aggregate"):
        fresh.deliveries.execute([an_order("order-1")])
    assert codes(fresh.deliveries.execute([an_order("order-2")])) == ["repeat"]


def test_invariant_14_what_was_recorded_before_a_restore_is_recorded_again(postgres_url: str) -> None:
    """A dispatcher resends commands that the restored log has lost; this process has their deliveries in memory."""
    engine = writer_engine(postgres_url)

    def process() -> Process:
        recorder = EventRecorder(engine, partition_rows=1000)
        riders = Riders(EventStoreFactory(recorder, SnapshotRecorder(engine), CODEC), PostgresHistory(engine))
        return Process(riders, Deliveries(riders))

    one, successor = process(), process()
    commands = [an_order(), a_step("assign"), a_step("pickup")]
    one.deliveries.execute(commands)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM events"))
        connection.execute(text("UPDATE log_numbers SET position = 0, seqs = '{}'"))
    # The order has the version at which the first process knows it, and another rider at another position.
    successor.deliveries.execute([an_order("order-0"), an_order(), a_step("assign", rider_id="ben"), a_step("cancel")])
    assert codes(one.deliveries.execute([a_step("assign", rider_id="ben")])) == ["repeat"]
    assert codes(one.deliveries.execute(commands)) == ["repeat", WrongStatus, WrongStatus]
    assert codes(one.deliveries.execute([a_step("assign", "order-0")])) == ["recorded"]
    assert one.riders.get("anna").legs == [["order-0", "to_restaurant"]]
    engine.dispose()
