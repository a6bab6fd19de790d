"""The commands on riders, on every event store: in memory and on Postgres."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from eventsourcing.application import AggregateNotFoundError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from domain.errors import EventIdConflict, ShiftAlreadyStarted
from domain.event_store import OrderBroken
from domain.events.contracts import Codec
from domain.gps_ping import record_of
from domain.identifiers import aggregate_id
from domain.riders.application import Riders
from domain.riders.rider import Rider
from infrastructure.event_store.aggregates import EventStoreFactory, LogEvent, SnapshotRecorder
from infrastructure.event_store.log_reader import PostgresHistory
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import writer_engine
from tests.support.ports_in_memory.event_store import MemoryEventStore
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.unit.domain.given import NOW_MS, a_ping

MakeRiders = Callable[..., Riders]
CODEC = Codec(LocalSchemaIds())


@pytest.fixture(params=["memory", "postgres"])
def make_riders(request: pytest.FixtureRequest) -> Iterator[MakeRiders]:
    """Applications on one event store; for the store, each call is another process."""
    if request.param == "memory":
        store = MemoryEventStore()
        yield lambda **options: Riders(EventStoreFactory(store, store.snapshots, CODEC), store, **options)
        return
    engine = writer_engine(request.getfixturevalue("postgres_url"))

    def on_postgres(**options: Any) -> Riders:
        recorder = EventRecorder(engine, partition_rows=1000)
        return Riders(EventStoreFactory(recorder, SnapshotRecorder(engine), CODEC), PostgresHistory(engine), **options)

    yield on_postgres
    engine.dispose()


def test_the_first_ping_registers_its_rider(make_riders: MakeRiders) -> None:
    riders = make_riders()
    (outcome,) = riders.record_pings([a_ping()])
    assert (outcome.position, outcome.is_new, outcome.rejection) == (2, True, None)
    rider = riders.get("anna")
    assert (rider.version, rider.pings, rider.latest_ms) == (2, 1, NOW_MS)


def test_an_unknown_rider_is_not_found(make_riders: MakeRiders) -> None:
    with pytest.raises(AggregateNotFoundError):
        make_riders().get("nobody")


def test_repeats_within_a_batch_and_between_batches_are_duplicates(make_riders: MakeRiders) -> None:
    riders = make_riders()
    first, second = a_ping(), a_ping(t_ms=NOW_MS + 1)
    outcomes = riders.record_pings([first, second, first])
    assert [o.is_new for o in outcomes] == [True, True, False]
    assert [o.position for o in outcomes] == [2, 3, 2]
    outcomes = riders.record_pings([second, a_ping(t_ms=NOW_MS + 2), first])
    assert [o.is_new for o in outcomes] == [False, True, False]
    assert [o.position for o in outcomes] == [3, 4, 2]


def test_invariant_3_a_repeat_is_known_to_another_process_too(make_riders: MakeRiders) -> None:
    make_riders().record_pings([a_ping(), a_ping("ben")])
    outcomes = make_riders().record_pings([a_ping("ben"), a_ping()])
    assert [o.is_new for o in outcomes] == [False, False]


def test_invariant_14_what_was_recorded_before_a_restore_is_recorded_again(postgres_url: str) -> None:
    """A phone resends pings that the restored log has lost; this process has cached their positions."""
    engine = writer_engine(postgres_url)

    def process() -> Riders:
        recorder = EventRecorder(engine, partition_rows=1000)
        return Riders(EventStoreFactory(recorder, SnapshotRecorder(engine), CODEC), PostgresHistory(engine))

    riders, successor = process(), process()
    pings = [a_ping(t_ms=NOW_MS + second) for second in range(4)]
    riders.record_pings(pings)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM events"))
        connection.execute(text("UPDATE log_numbers SET position = 0, seqs = '{}'"))
    # The log grows past what the first process has seen, and anna to a version at which she was.
    successor.record_pings([*pings[:2], a_ping(t_ms=NOW_MS + 90), a_ping(t_ms=NOW_MS + 91), a_ping("ben")])
    outcomes = riders.record_pings([*pings, a_ping(t_ms=NOW_MS + 90)])
    assert [o.is_new for o in outcomes] == [False, False, True, True, False]
    assert (riders.get("anna").pings, riders.get("anna").version) == (6, 7)
    engine.dispose()


def test_invariant_10_an_unreadable_event_stops_neither_its_rider_nor_the_batch(make_riders: MakeRiders) -> None:
    make_riders().record_pings([a_ping(), a_ping("ben")])
    damaged = a_ping(t_ms=NOW_MS + 1)
    recorder: Any = make_riders().recorder
    unreadable = LogEvent(
        aggregate_id("Rider", "anna"), 3, "GpsPing", b"\x00\x00\x00\x27\x0f no contract", "Rider", "anna",
        UUID(damaged.event_id), damaged.event_timestamp_ms,
    )  # fmt: skip
    recorder.insert_events([unreadable])
    outcomes = make_riders().record_pings([a_ping(t_ms=NOW_MS + 2), a_ping(), a_ping("ben", t_ms=NOW_MS + 2), damaged])
    assert [o.is_new for o in outcomes] == [True, False, True, False]
    assert isinstance(outcomes[3].rejection, EventIdConflict)
    again = make_riders().record_pings([a_ping(t_ms=NOW_MS + 2), a_ping(t_ms=NOW_MS + 3)])
    assert [o.is_new for o in again] == [False, True]


REGISTERED: Any = Rider.register("anna", NOW_MS).collect_events()[0]
POISON = [
    CODEC.encode("RiderRegistered", REGISTERED.data()),
    CODEC.encode("GpsPing", {**record_of(a_ping()), "event_timestamp_ms": 1 << 62}),
]


@pytest.mark.parametrize("payload", POISON, ids=["of another record", "of a time beyond all calendars"])
def test_regression_a_readable_record_that_is_no_event_of_its_type_stops_no_rider(
    make_riders: MakeRiders, payload: bytes
) -> None:
    make_riders().record_pings([a_ping()])
    recorder: Any = make_riders().recorder
    damaged = LogEvent(aggregate_id("Rider", "anna"), 3, "GpsPing", payload, "Rider", "anna", UUID(int=7), NOW_MS + 1)
    recorder.insert_events([damaged])
    outcomes = make_riders().record_pings([a_ping(t_ms=NOW_MS + 2), a_ping(), a_ping("ben")])
    assert [o.is_new for o in outcomes] == [True, False, True]


def test_regression_a_ping_that_names_the_id_of_another_event_of_its_rider_is_a_ping(make_riders: MakeRiders) -> None:
    make_riders().record_pings([a_ping(t_ms=NOW_MS + 1, received_ms=NOW_MS)])
    named = a_ping(t_ms=REGISTERED.event_timestamp_ms, event_id=REGISTERED.event_id)
    assert [o.is_new for o in make_riders().record_pings([named])] == [True]
    assert [o.is_new for o in make_riders().record_pings([named])] == [False]


def test_regression_a_rider_whose_events_were_all_detached_resumes_from_its_snapshot(postgres_url: str) -> None:
    engine = writer_engine(postgres_url)

    def process() -> Riders:
        recorder = EventRecorder(engine, partition_rows=1000)
        factory = EventStoreFactory(recorder, SnapshotRecorder(engine), CODEC)
        return Riders(factory, PostgresHistory(engine), snapshot_every=10)

    process().record_pings([a_ping(t_ms=NOW_MS + second) for second in range(20)])
    version = process().get("anna").version
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM events"))  # as a partition that is detached: the head stays
    outcomes = process().record_pings([a_ping(t_ms=NOW_MS + 100), a_ping("ben")])
    assert [o.is_new for o in outcomes] == [True, True]
    assert process().get("anna").version == version + 1
    engine.dispose()


def test_a_conflict_of_content_rejects_that_ping_alone(make_riders: MakeRiders) -> None:
    riders = make_riders()
    event_id = "0b7e9d1c-3f6a-4f0e-8f65-2b1f9a8d7c6e"
    riders.record_pings([a_ping(event_id=event_id)])
    outcomes = riders.record_pings([a_ping(event_id=event_id, accuracy_meters=1), a_ping("ben")])
    assert isinstance(outcomes[0].rejection, EventIdConflict)
    assert outcomes[0].position is None
    assert outcomes[1].is_new


def test_a_writer_whose_riders_were_changed_by_another_decides_again(make_riders: MakeRiders) -> None:
    one, other = make_riders(), make_riders()
    one.record_pings([a_ping(), a_ping("ben")])
    other.record_pings([a_ping(t_ms=NOW_MS + 1), a_ping("carl")])
    # ``one`` still holds anna at her second version: its batch is decided again inside the lock, without a loss.
    outcomes = one.record_pings([a_ping(t_ms=NOW_MS + 1), a_ping(t_ms=NOW_MS + 2), a_ping("ben", NOW_MS + 1)])
    assert [o.is_new for o in outcomes] == [False, True, True]
    assert one.get("anna").version == 4


def test_an_evicted_rider_is_loaded_again(make_riders: MakeRiders) -> None:
    riders = make_riders(cached_riders=2)
    for number in range(5):
        riders.record_pings([a_ping(f"rider-{n}", NOW_MS + number) for n in range(6)])
    assert riders.get("rider-0").pings == 5


def test_snapshots_are_taken_and_loaded(make_riders: MakeRiders) -> None:
    riders = make_riders(snapshot_every=10)
    riders.start_shift("anna", NOW_MS)
    for batch in range(5):
        riders.record_pings([a_ping(t_ms=NOW_MS + batch * 10 + n) for n in range(7)])
    fresh = make_riders(snapshot_every=10)
    outcomes = fresh.record_pings([a_ping(t_ms=NOW_MS), a_ping(t_ms=NOW_MS + 1000)])
    assert [o.is_new for o in outcomes] == [False, True]
    rider = fresh.get("anna")
    assert (rider.pings, rider.on_shift) == (36, True)


def test_a_refused_command_leaves_no_trace(make_riders: MakeRiders) -> None:
    riders = make_riders()
    riders.start_shift("anna", NOW_MS)
    with pytest.raises(ShiftAlreadyStarted):
        riders.start_shift("anna", NOW_MS)
    riders.end_shift("anna", NOW_MS)
    assert riders.get("anna").version == 3


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=1, max_size=8), max_size=6
    ),
    writers=st.lists(st.integers(0, 1), min_size=6, max_size=6),
)
def test_invariant_3_every_ping_is_recorded_once_whoever_sends_it(
    make_riders: MakeRiders, batches: list[list[tuple[str, int]]], writers: list[int]
) -> None:
    # The store outlives an example, so that each has riders of its own.
    example = uuid4().hex
    processes = [make_riders(), make_riders()]
    already: dict[tuple[str, int], int] = {}
    for batch, writer in zip(batches, writers, strict=False):
        pings = [a_ping(f"{rider} of {example}", NOW_MS + second) for rider, second in batch]
        for item, outcome in zip(batch, processes[writer].record_pings(pings), strict=True):
            assert outcome.position is not None
            assert (outcome.is_new, already.get(item, outcome.position)) == (item not in already, outcome.position)
            already[item] = outcome.position
    assert len(set(already.values())) == len(already)


def test_history_is_in_the_log_ping_by_ping_as_it_was_received(make_riders: MakeRiders) -> None:
    riders = make_riders()
    early = NOW_MS - 100_000
    times = [("anna", early), ("ben", early + 1), ("anna", early + 1), ("ben", early + 5), ("anna", early + 9)]
    pings = [a_ping(rider, at_ms - 50, received_ms=at_ms) for rider, at_ms in times]
    # A repeat, and a ping later in the log than its event time says: both as they come from a phone that was offline.
    pings.insert(2, pings[0]._replace(received_timestamp_ms=early + 1))
    pings.append(a_ping("ben", early - 80_000, received_ms=early + 9))
    outcomes = riders.backfill(pings)
    assert [o.position for o in outcomes] == [2, 4, 2, 5, 6, 7, 8]
    assert [o.is_new for o in outcomes] == [True, True, False, True, True, True, True]
    log = riders.recorder.select_notifications(1, 20)
    assert [event.topic for event in log] == ["RiderRegistered", "GpsPing", "RiderRegistered", *["GpsPing"] * 5]
    assert [event.originator_version for event in log] == [1, 2, 1, 2, 3, 3, 4, 4]
    again = make_riders().backfill(pings)
    assert [(o.position, o.is_new) for o in again] == [(o.position, False) for o in outcomes]
    # What comes live afterwards is after it.
    assert riders.record_pings([a_ping()])[0].position == 9


@pytest.mark.parametrize("swapped", [False, True])
def test_history_that_would_break_the_order_is_refused_whole(make_riders: MakeRiders, swapped: bool) -> None:
    riders = make_riders()
    early = NOW_MS - 100_000
    batch = [a_ping("anna", early, received_ms=early), a_ping("ben", early, received_ms=early + 1)]
    if swapped:
        batch.reverse()
    else:
        # Live pings of another process, recorded by the clock.
        make_riders().record_pings([a_ping("carl", early)])
    with pytest.raises(OrderBroken):
        riders.backfill(batch)
    with pytest.raises(AggregateNotFoundError):
        riders.get("anna")
    assert riders.recorder.max_notification_id() == (None if swapped else 2)
    assert riders.record_pings(batch)[0].is_new, "the riders that were cached meanwhile are forgotten"
