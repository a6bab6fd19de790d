"""History of riders and deliveries in one order of reception, on every event store: in memory and on Postgres."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.deliveries.application import Deliveries
from domain.deliveries.commands import Assign, Cancel, Complete, DeliveryCommand, PickUp, PlaceOrder
from domain.deliveries.history_batch import HistoryItem, received_ms
from domain.deliveries.joint_backfill import JointBackfill
from domain.deliveries.values import Coordinates
from domain.errors import EventIdConflict, OutOfRange, UnknownDelivery, WrongStatus
from domain.event_store import OrderBroken
from domain.events.contracts import Codec
from domain.identifiers import aggregate_id
from domain.riders.application import Riders
from infrastructure.event_store.aggregates import EventStoreFactory, LogEvent, SnapshotRecorder
from infrastructure.event_store.log_reader import PostgresHistory
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import writer_engine
from infrastructure.simulator.receptions import receptions
from tests.support.ports_in_memory.event_store import MemoryEventStore
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.unit.domain.given import NOW_MS, a_ping
from tests.unit.simulator.scenarios import busy, sent

CODEC = Codec(LocalSchemaIds())
RESTAURANT, CUSTOMER = Coordinates(52.5, 13.4), Coordinates(52.51, 13.41)


class Writers(NamedTuple):
    """Another process each time, on one event store."""

    backfill: Callable[..., JointBackfill]
    riders: Callable[[], Riders]


@pytest.fixture(params=["memory", "postgres"])
def writers(request: pytest.FixtureRequest) -> Iterator[Writers]:
    if request.param == "memory":
        yield in_memory(MemoryEventStore())
        return
    engine = writer_engine(request.getfixturevalue("postgres_url"))

    def riders(snapshot_every: int = 1_000) -> Riders:
        recorder = EventRecorder(engine, partition_rows=1000)
        factory = EventStoreFactory(recorder, SnapshotRecorder(engine), CODEC)
        return Riders(factory, PostgresHistory(engine), snapshot_every=snapshot_every)

    yield Writers(lambda **options: JointBackfill(riders(**options)), riders)
    engine.dispose()


def in_memory(store: MemoryEventStore) -> Writers:
    def riders(cached: int = 100, snapshot_every: int = 1_000) -> Riders:
        factory = EventStoreFactory(store, store.snapshots, CODEC)
        return Riders(factory, store, cached_riders=cached, snapshot_every=snapshot_every)

    def backfill(cached: int = 100, snapshot_every: int = 1_000) -> JointBackfill:
        return JointBackfill(riders(cached, snapshot_every), cached_deliveries=cached)

    return Writers(backfill, riders)


def place(at_ms: int, **fields: Any) -> PlaceOrder:
    return PlaceOrder(
        order_id="order-1", received_ms=at_ms, restaurant=RESTAURANT, customer=CUSTOMER,
        time_zone="Europe/Berlin", currency="EUR", **fields,
    )  # fmt: skip


def step(kind: type[DeliveryCommand], at_ms: int, **fields: Any) -> DeliveryCommand:
    return kind(order_id="order-1", received_ms=at_ms, **fields)


def logged(riders: Riders) -> list[tuple[str, int, int]]:
    """Record type, aggregate version and reception of each event, in position order."""
    found = []
    for notification in riders.recorder.select_notifications(1, 100_000):
        data = CODEC.decode(notification.state)
        assert data is not None
        found.append((notification.topic, notification.originator_version, data.get("received_timestamp_ms") or 0))
    return found


def test_a_delivery_among_pings_is_recorded_in_the_order_of_reception(writers: Writers) -> None:
    items: list[HistoryItem] = [
        a_ping("anna", NOW_MS, received_ms=NOW_MS),
        place(NOW_MS + 1),
        a_ping("ben", NOW_MS - 50, received_ms=NOW_MS + 2),
        step(Assign, NOW_MS + 3, rider_id="anna"),
        a_ping("anna", NOW_MS + 3, received_ms=NOW_MS + 3),
        step(PickUp, NOW_MS + 4),
        a_ping("anna", NOW_MS + 4, received_ms=NOW_MS + 4),
        step(Complete, NOW_MS + 5),
    ]
    outcomes = writers.backfill().record(items)
    assert all(outcome.is_new and outcome.rejection is None for outcome in outcomes)
    assert logged(writers.riders()) == [
        ("RiderRegistered", 1, 0),
        ("GpsPing", 2, NOW_MS),
        ("DeliveryPlaced", 1, NOW_MS + 1),
        ("RiderRegistered", 1, 0),
        ("GpsPing", 2, NOW_MS + 2),
        ("DeliveryAssigned", 2, NOW_MS + 3),
        ("LegStarted", 3, NOW_MS + 3),
        ("GpsPing", 4, NOW_MS + 3),
        ("DeliveryPickedUp", 3, NOW_MS + 4),
        ("LegEnded", 5, NOW_MS + 4),
        ("LegStarted", 6, NOW_MS + 4),
        ("GpsPing", 7, NOW_MS + 4),
        ("DeliveryCompleted", 4, NOW_MS + 5),
        ("LegEnded", 8, NOW_MS + 5),
    ]


def test_repeats_within_a_batch_between_batches_and_by_another_process_are_recorded_once(writers: Writers) -> None:
    ping, order = a_ping(received_ms=NOW_MS), place(NOW_MS, command_id="key-1")
    later = a_ping(received_ms=NOW_MS + 9)
    backfill = writers.backfill()
    assert [each.is_new for each in backfill.record([ping, order, ping, order])] == [True, True, False, False]
    assert [each.is_new for each in backfill.record([later, place(NOW_MS + 9, command_id="key-1")])] == [False, False]
    assert [each.is_new for each in writers.backfill().record([later, place(NOW_MS + 9)])] == [False, False]
    assert len(logged(writers.riders())) == 3


def test_what_is_rejected_changes_nothing_and_names_its_error(writers: Writers) -> None:
    event_id = "0b7e9d1c-3f6a-4f0e-8f65-2b1f9a8d7c6e"
    items: list[HistoryItem] = [
        step(PickUp, NOW_MS),
        a_ping(received_ms=NOW_MS, event_id=event_id),
        a_ping(received_ms=NOW_MS, event_id=event_id, latitude=10.0),
        place(NOW_MS, items=-1),
        place(NOW_MS),
        step(Complete, NOW_MS),
        step(Cancel, NOW_MS),
    ]
    outcomes = writers.backfill().record(items)
    assert [type(each.rejection) for each in outcomes] == [
        UnknownDelivery, type(None), EventIdConflict, OutOfRange, type(None), WrongStatus, type(None),
    ]  # fmt: skip
    assert [each[0] for each in logged(writers.riders())] == [
        "RiderRegistered", "GpsPing", "DeliveryPlaced", "DeliveryCancelled",
    ]  # fmt: skip


def test_invariant_10_a_recorded_ping_that_cannot_be_decoded_rejects_its_repeat_alone(writers: Writers) -> None:
    backfill, recorder = writers.backfill(), writers.riders().recorder
    first, repeat = a_ping(received_ms=NOW_MS), a_ping(received_ms=NOW_MS + 1, t_ms=NOW_MS - 1)
    backfill.record([first])
    unreadable = LogEvent(
        aggregate_id("Rider", "anna"), 3, "GpsPing", b"\x00\x00\x00\x27\x0f no contract", "Rider",
        "anna", UUID(repeat.event_id), repeat.event_timestamp_ms, recorded_at_ms=NOW_MS,
    )  # fmt: skip
    recorder.insert_events([unreadable])
    outcomes = writers.backfill().record([repeat, place(NOW_MS + 1)])
    assert [type(each.rejection) for each in outcomes] == [EventIdConflict, type(None)]


def test_a_batch_that_is_out_of_order_is_refused_whole(writers: Writers) -> None:
    backfill = writers.backfill()
    backfill.record([a_ping(received_ms=NOW_MS + 5)])
    with pytest.raises(OrderBroken):
        backfill.record([place(NOW_MS + 6), a_ping("ben", received_ms=NOW_MS + 4)])
    assert len(logged(writers.riders())) == 2
    # What was cached of the refused batch is gone: its order is not taken for a placed one.
    (outcome,) = backfill.record([place(NOW_MS + 6)])
    assert outcome.is_new


def test_another_writer_with_a_later_event_breaks_the_order(writers: Writers) -> None:
    backfill = writers.backfill()
    backfill.record([a_ping(received_ms=NOW_MS), place(NOW_MS)])
    writers.riders().record_pings([a_ping(t_ms=NOW_MS + 1)])
    with pytest.raises(OrderBroken):
        backfill.record([a_ping(t_ms=NOW_MS + 2, received_ms=NOW_MS + 2)])
    assert len(logged(writers.riders())) == 4


def test_a_rider_with_a_long_history_gets_snapshots(writers: Writers) -> None:
    pings = [a_ping(t_ms=NOW_MS + n, received_ms=NOW_MS + n) for n in range(25)]
    writers.backfill(snapshot_every=10).record(pings)
    riders = writers.riders()
    snapshots: Any = riders.snapshots
    (rider,) = [snapshot.originator_version for snapshot in snapshots.get(riders.get("anna").id)]
    assert rider == 26
    assert riders.get("anna").pings == 25


SCENARIO = busy(1, duration_s=2_400.0, until_s=1_500.0)
HISTORY: Sequence[HistoryItem] = [each.item for each in receptions(sent(SCENARIO), SCENARIO)]


def bytes_in(riders: Riders) -> list[tuple[Any, int, bytes]]:
    found = riders.recorder.select_notifications(1, 100_000)
    return [(each.originator_id, each.originator_version, each.state) for each in found]


def bytes_of(batches: Sequence[Sequence[HistoryItem]], cached: int) -> list[tuple[Any, int, bytes]]:
    writers = in_memory(MemoryEventStore())
    backfill = writers.backfill(cached=cached)
    for batch in batches:
        backfill.record(batch)
    return bytes_in(writers.riders())


WHOLE = bytes_of([HISTORY], cached=100)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, len(HISTORY)), max_size=40), st.integers(1, 4))
def test_the_log_does_not_depend_on_batches_or_on_what_is_cached(cuts: list[int], cached: int) -> None:
    bounds = [0, *sorted(cuts), len(HISTORY)]
    assert bytes_of([HISTORY[begin:end] for begin, end in pairwise(bounds)], cached) == WHOLE


def test_the_log_is_the_one_that_live_commands_write() -> None:
    """Each ping and command by itself, through the applications that serve HTTP."""
    riders = in_memory(MemoryEventStore()).riders()
    deliveries = Deliveries(riders)
    for item in HISTORY:
        if isinstance(item, DeliveryCommand):
            deliveries.execute([item])
        else:
            riders.record_pings([item])
    assert bytes_in(riders) == WHOLE


def test_a_simulated_history_is_recorded_in_the_order_of_reception(writers: Writers) -> None:
    backfill = writers.backfill()
    outcomes = [each for n in range(0, len(HISTORY), 500) for each in backfill.record(HISTORY[n : n + 500])]
    assert not [each.rejection for each in outcomes if each.rejection is not None]
    recorded = [at_ms for _, _, at_ms in logged(writers.riders()) if at_ms]
    assert recorded == sorted(recorded)
    new = [received_ms(item) for item, outcome in zip(HISTORY, outcomes, strict=True) if outcome.is_new]
    assert set(new) == set(recorded)
