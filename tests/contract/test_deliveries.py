"""The commands on deliveries, on every event store: in memory and on Postgres."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from eventsourcing.domain import Snapshot
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent
from sqlalchemy import text

from domain.deliveries.application import Deliveries
from domain.deliveries.batch import CommandOutcome
from domain.deliveries.delivery import Delivery
from domain.errors import (
    InvalidRiderId,
    OtherRider,
    TooManyLegs,
    UnknownDelivery,
    UnreadableDelivery,
    WrongStatus,
)
from domain.event_store import RecordedRef, RecordedVersion, Redecide
from domain.events.contracts import Codec
from domain.identifiers import aggregate_id
from domain.riders.application import Riders
from infrastructure.event_store.aggregates import EventStoreFactory, LogEvent, SnapshotRecorder
from infrastructure.event_store.log_reader import PostgresHistory
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import writer_engine
from tests.support.ports_in_memory.event_store import MemoryEventStore
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.unit.domain.given import NOW_MS, a_ping
from tests.unit.domain.given_delivery import a_step, an_eta, an_order

CODEC = Codec(LocalSchemaIds())


class Process(NamedTuple):
    """The command side of one process."""

    riders: Riders
    deliveries: Deliveries


MakeProcess = Callable[..., Process]


@pytest.fixture(params=["memory", "postgres"])
def make_process(request: pytest.FixtureRequest) -> Iterator[MakeProcess]:
    """Command sides on one event store; for the store, each call is another process."""
    if request.param == "memory":
        store = MemoryEventStore()

        def in_memory(**options: Any) -> Process:
            riders = Riders(EventStoreFactory(store, store.snapshots, CODEC), store)
            return Process(riders, Deliveries(riders, **options))

        yield in_memory
        return
    engine = writer_engine(request.getfixturevalue("postgres_url"))

    def on_postgres(**options: Any) -> Process:
        recorder = EventRecorder(engine, partition_rows=1000)
        riders = Riders(EventStoreFactory(recorder, SnapshotRecorder(engine), CODEC), PostgresHistory(engine))
        return Process(riders, Deliveries(riders, **options))

    yield on_postgres
    engine.dispose()


def codes(outcomes: list[CommandOutcome]) -> list[object]:
    """What became of each command: recorded, a repeat, or the type of its rejection."""
    return [type(o.rejection) if o.rejection else "recorded" if o.recorded else "repeat" for o in outcomes]


def log_of(process: Process) -> list[tuple[str, int]]:
    """Type and version of every event, by position."""
    found = process.riders.recorder.select_notifications(1, 1_000)
    assert [event.id for event in found] == list(range(1, len(found) + 1))
    return [(event.topic, event.originator_version) for event in found]


def test_a_delivery_and_the_legs_of_its_rider_are_recorded_together(make_process: MakeProcess) -> None:
    process = make_process()
    placed, assigned = process.deliveries.execute([an_order(items=3), a_step("assign")])
    assert codes([placed, assigned]) == ["recorded", "recorded"]
    assert placed.delivery is not None
    assert assigned.delivery is not None
    assert (placed.position, placed.delivery.position, placed.delivery.version) == (1, 1, 1)
    assert (placed.delivery.status, assigned.delivery.status) == ("placed", "assigned")
    assert (assigned.position, assigned.delivery.position, assigned.delivery.version) == (2, 2, 2)
    assert process.riders.get("anna").legs == [["order-1", "to_restaurant"]]
    process.deliveries.execute([a_step("pickup")])
    (completed,) = process.deliveries.execute([a_step("complete")])
    assert log_of(process) == [
        ("DeliveryPlaced", 1),
        ("DeliveryAssigned", 2),
        ("RiderRegistered", 1),
        ("LegStarted", 2),
        ("DeliveryPickedUp", 3),
        ("LegEnded", 3),
        ("LegStarted", 4),
        ("DeliveryCompleted", 4),
        ("LegEnded", 5),
    ]
    assert completed.delivery == process.deliveries.get("order-1") == make_process().deliveries.get("order-1")
    assert completed.position == 8
    assert make_process().riders.get("anna").legs == []


def test_an_order_that_was_not_placed_is_not_found(make_process: MakeProcess) -> None:
    with pytest.raises(UnknownDelivery):
        make_process().deliveries.get("order-1")


def test_a_rejected_command_fails_no_other_one_of_its_batch(make_process: MakeProcess) -> None:
    process = make_process()
    outcomes = process.deliveries.execute(
        [
            an_order("order-1"),
            a_step("assign", "order-9"),
            a_step("pickup", "order-1"),
            a_step("assign", "order-1", rider_id="a/b"),
            a_step("assign", "order-1"),
            a_step("assign", "order-1", rider_id="ben"),
            a_step("assign", "order-1"),
            an_order("order-2"),
        ]
    )
    expected = ["recorded", UnknownDelivery, WrongStatus, InvalidRiderId, "recorded", OtherRider, "repeat", "recorded"]
    assert codes(outcomes) == expected
    assert [o.position for o in outcomes] == [1, None, None, None, 2, None, 2, 5]
    assert process.deliveries.execute([]) == []


def test_a_repeat_is_known_to_another_process_and_after_a_restart(make_process: MakeProcess) -> None:
    commands = [an_order(command_id="k-1"), a_step("assign", command_id="k-2"), a_step("pickup")]
    one = make_process()
    assert codes(one.deliveries.execute(commands)) == ["recorded"] * 3
    for process in (one, make_process()):
        again = process.deliveries.execute(commands)
        assert codes(again) == ["repeat"] * 3
        assert [o.position for o in again] == [5, 5, 5], "the delivery as it is now"
    assert len(log_of(one)) == 7


def test_what_another_process_recorded_on_an_order_is_decided_upon(make_process: MakeProcess) -> None:
    one, other = make_process(), make_process()
    one.deliveries.execute([an_order()])
    other.deliveries.execute([a_step("assign", rider_id="ben")])
    # ``one`` has the order in memory as it was placed. No event would show that it is behind.
    assert codes(one.deliveries.execute([a_step("assign", rider_id="ben")])) == ["repeat"]
    other.deliveries.execute([a_step("pickup")])
    assert codes(one.deliveries.execute([a_step("arrive")])) == ["recorded"]
    other.deliveries.execute([a_step("complete")])
    assert codes(one.deliveries.execute([a_step("cancel")])) == [WrongStatus]
    assert make_process().deliveries.get("order-1").status == "completed"


def test_what_another_process_recorded_on_a_rider_is_decided_upon(make_process: MakeProcess) -> None:
    one, other = make_process(), make_process()
    orders = [an_order(f"order-{number}") for number in range(22)]
    one.deliveries.execute(orders)
    one.deliveries.execute([a_step("assign", f"order-{number}") for number in range(10)])
    other.deliveries.execute([a_step("assign", f"order-{number}") for number in range(10, 20)])
    # ``one`` knows ten legs.
    assert codes(one.deliveries.execute([a_step("assign", "order-20")])) == [TooManyLegs]
    other.deliveries.execute([a_step("pickup", "order-3"), a_step("complete", "order-3")])
    # ``one`` knows twenty.
    assert codes(one.deliveries.execute([a_step("assign", "order-20"), a_step("assign", "order-21")])) == [
        "recorded",
        TooManyLegs,
    ]
    assert len(make_process().riders.get("anna").legs) == 20


def test_only_what_another_process_changed_is_decided_again(make_process: MakeProcess) -> None:
    one, other = make_process(), make_process()
    one.deliveries.execute([an_order("order-1"), an_order("order-2"), a_step("assign", "order-2")])
    other.deliveries.execute([a_step("cancel", "order-1")])
    outcomes = one.deliveries.execute([a_step("assign", "order-1", rider_id="ben"), a_step("pickup", "order-2")])
    assert codes(outcomes) == [WrongStatus, "recorded"]
    assert ("RiderRegistered", 1) in log_of(one)
    assert codes(one.deliveries.execute([a_step("complete", "order-2")])) == ["recorded"]


def test_a_rider_that_another_process_assigned_meanwhile_ends_the_leg(make_process: MakeProcess) -> None:
    """Decided again, the command changes another rider than at first; that one may be in memory as it was before."""
    one, other = make_process(), make_process()
    one.deliveries.execute([an_order("order-1"), an_order("order-2"), a_step("assign", "order-2", rider_id="ben")])
    one.deliveries.execute([a_step("assign", "order-1", rider_id="anna")])
    other.deliveries.execute([a_step("unassign", "order-1"), a_step("assign", "order-1", rider_id="ben")])
    assert codes(one.deliveries.execute([a_step("cancel", "order-1")])) == ["recorded"]
    fresh = make_process()
    assert fresh.riders.get("anna").legs == []
    assert fresh.riders.get("ben").legs == [["order-2", "to_restaurant"]]


def test_pings_and_deliveries_of_one_process_share_the_riders_in_memory(make_process: MakeProcess) -> None:
    process = make_process()
    process.riders.record_pings([a_ping()])
    process.deliveries.execute([an_order(), a_step("assign")])
    process.riders.record_pings([a_ping(t_ms=NOW_MS + 1)])
    process.deliveries.execute([a_step("pickup")])
    outcomes = process.riders.record_pings([a_ping(), a_ping(t_ms=NOW_MS + 2)])
    assert [o.is_new for o in outcomes] == [False, True]
    rider = make_process().riders.get("anna")
    assert (rider.pings, rider.version, rider.legs) == (3, 7, [["order-1", "to_customer"]])


def test_pings_of_another_process_do_not_stop_commands_on_their_rider(make_process: MakeProcess) -> None:
    one, other = make_process(), make_process()
    one.deliveries.execute([an_order(), a_step("assign")])
    for number, verb in enumerate(("pickup", "arrive", "complete")):
        other.riders.record_pings([a_ping(t_ms=NOW_MS + number)])
        assert codes(one.deliveries.execute([a_step(verb)])) == ["recorded"]
    rider = make_process().riders.get("anna")
    assert (rider.pings, rider.legs) == (3, [])


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


def test_the_first_eta_of_a_leg_is_recorded_once_across_processes_and_restarts(make_process: MakeProcess) -> None:
    one, other = make_process(snapshot_every=2), make_process(snapshot_every=2)
    one.deliveries.execute([an_order(), a_step("assign")])
    assert codes(one.deliveries.execute([an_eta("to_restaurant"), an_eta("to_restaurant")])) == ["recorded", "repeat"]
    assert codes(other.deliveries.execute([an_eta("to_restaurant"), an_eta("at_restaurant")])) == ["repeat", "recorded"]
    # ``one`` has the delivery in memory as it was before ``other`` recorded.
    assert codes(one.deliveries.execute([an_eta("at_restaurant"), a_step("pickup")])) == ["repeat", "recorded"]
    fresh = make_process(snapshot_every=2)
    assert codes(fresh.deliveries.execute([an_eta("to_restaurant"), an_eta("at_restaurant")])) == ["repeat", "repeat"]
    assert log_of(one) == [
        ("DeliveryPlaced", 1),
        ("DeliveryAssigned", 2),
        ("RiderRegistered", 1),
        ("LegStarted", 2),
        ("EtaServed", 3),
        ("EtaServed", 4),
        ("DeliveryPickedUp", 5),
        ("LegEnded", 3),
        ("LegStarted", 4),
    ]
    shown = fresh.deliveries.get("order-1")
    assert (shown.status, shown.version, shown.position) == ("picked_up", 5, 7)


def test_commands_and_etas_of_two_processes_do_not_stop_each_other(make_process: MakeProcess) -> None:
    """An ETA moves the version on, and the other process has to decide its command again, and finds it allowed."""
    one, other = make_process(), make_process()
    one.deliveries.execute([an_order(command_id="k-0")])
    for verb, leg in (("assign", "unassigned"), ("pickup", "to_restaurant"), ("complete", "to_customer")):
        assert codes(other.deliveries.execute([an_eta(leg)])) == ["recorded"]
        assert codes(one.deliveries.execute([a_step(verb, command_id=f"k-{verb}")])) == ["recorded"]
    assert codes(other.deliveries.execute([a_step("complete", command_id="k-complete")])) == ["repeat"]
    assert codes(one.deliveries.execute([an_eta("at_customer")])) == ["recorded"], "the order is over, but it was shown"
    assert make_process().deliveries.get("order-1").version == 8


def test_an_eta_of_an_order_that_was_not_placed_is_refused(make_process: MakeProcess) -> None:
    process = make_process()
    assert codes(process.deliveries.execute([an_eta("unassigned", "order-9")])) == [UnknownDelivery]
    assert log_of(process) == []


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
