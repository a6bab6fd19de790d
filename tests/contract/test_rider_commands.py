"""The commands of people on riders, on every event store: in memory and on Postgres."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from eventsourcing.persistence import OperationalError, StoredEvent

from domain.deliveries.application import Deliveries
from domain.errors import InvalidVerdict, StatementAlreadyClosed, UnknownRider
from domain.event_store import RecordedRef, Redecide
from domain.events.contracts import Codec
from domain.riders.application import Riders
from domain.riders.command_service import RiderCommandOutcome, RiderCommands
from infrastructure.event_store.aggregates import EventStoreFactory, SnapshotRecorder
from infrastructure.event_store.log_reader import PostgresHistory
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import writer_engine
from tests.support.ports_in_memory.event_store import MemoryEventStore
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.unit.domain.given import NOW_MS, a_ping
from tests.unit.domain.given_delivery import a_step, an_order
from tests.unit.domain.test_rider_commands import a_closing, a_review

CODEC = Codec(LocalSchemaIds())


class Desk(NamedTuple):
    """The command side of one process."""

    riders: Riders
    deliveries: Deliveries
    commands: RiderCommands


MakeDesk = Callable[..., Desk]


@pytest.fixture(params=["memory", "postgres"])
def make_desk(request: pytest.FixtureRequest) -> Iterator[MakeDesk]:
    """Command sides on one event store; for the store, each call is another process."""

    def of(riders: Riders) -> Desk:
        return Desk(riders, Deliveries(riders), RiderCommands(riders))

    if request.param == "memory":
        store = MemoryEventStore()
        yield lambda **options: of(Riders(EventStoreFactory(store, store.snapshots, CODEC), store, **options))
        return
    engine = writer_engine(request.getfixturevalue("postgres_url"))

    def on_postgres(**options: Any) -> Desk:
        recorder = EventRecorder(engine, partition_rows=1000)
        factory = EventStoreFactory(recorder, SnapshotRecorder(engine), CODEC)
        return of(Riders(factory, PostgresHistory(engine), **options))

    yield on_postgres
    engine.dispose()


def codes(outcomes: Sequence[RiderCommandOutcome]) -> list[object]:
    return [type(o.rejection) if o.rejection else "recorded" if o.recorded else "repeat" for o in outcomes]


def log_of(desk: Desk) -> list[tuple[str, int]]:
    found = desk.riders.recorder.select_notifications(1, 1_000)
    assert [event.id for event in found] == list(range(1, len(found) + 1))
    return [(event.topic, event.originator_version) for event in found]


def test_reviews_and_closings_are_recorded_in_the_riders_stream(make_desk: MakeDesk) -> None:
    desk = make_desk()
    desk.riders.record_pings([a_ping()])
    reviewed, closed = desk.commands.execute([a_review(), a_closing()])
    assert codes([reviewed, closed]) == ["recorded", "recorded"]
    assert (reviewed.position, closed.position) == (3, 4)
    assert log_of(desk) == [("RiderRegistered", 1), ("GpsPing", 2), ("AlertReviewed", 3), ("StatementClosed", 4)]
    assert make_desk().riders.get("anna").closed_through == {"EUR": "2026-W38"}


def test_a_rejected_command_fails_no_other_one_and_a_repeat_records_nothing(make_desk: MakeDesk) -> None:
    desk = make_desk()
    desk.riders.record_pings([a_ping()])
    outcomes = desk.commands.execute(
        [
            a_review(rider_id="nobody"),
            a_review(verdict="guilty"),
            a_review(),
            a_review(),
            a_closing(),
            a_closing(),
            a_review(verdict="confirmed"),
        ]
    )
    expected = [UnknownRider, InvalidVerdict, "recorded", "repeat", "recorded", StatementAlreadyClosed, "recorded"]
    assert codes(outcomes) == expected
    assert [o.position for o in outcomes] == [None, None, 3, None, 4, None, 5]
    assert desk.commands.execute([]) == []


def test_a_repeat_is_known_to_another_process_and_from_a_snapshot(make_desk: MakeDesk) -> None:
    desk = make_desk(snapshot_every=2)
    desk.riders.record_pings([a_ping()])
    commands = [a_review(command_id="key-1"), a_closing(command_id="key-2")]
    assert codes(desk.commands.execute(commands)) == ["recorded", "recorded"]
    assert codes(make_desk(snapshot_every=2).commands.execute(commands)) == ["repeat", "repeat"]


def test_invariant_1_a_review_is_decided_again_inside_the_lock(make_desk: MakeDesk) -> None:
    """Another process records between the decision and the append: the same review, and a ping."""
    one, other = make_desk(), make_desk()
    one.riders.record_pings([a_ping()])
    append = one.riders.command_log._append

    def after_the_other(events: Sequence[StoredEvent], redecide: Redecide) -> RecordedRef:
        one.riders.command_log._append = append
        other.riders.record_pings([a_ping(t_ms=NOW_MS + 1)])
        assert codes(other.commands.execute([a_review()])) == ["recorded"]
        return append(events, redecide)

    one.riders.command_log._append = after_the_other
    assert codes(one.commands.execute([a_review(), a_closing()])) == ["repeat", "recorded"]
    assert log_of(one)[2:] == [("GpsPing", 3), ("AlertReviewed", 4), ("StatementClosed", 5)]


def test_pings_deliveries_and_reviews_share_the_riders_in_memory(make_desk: MakeDesk) -> None:
    desk, other = make_desk(), make_desk()
    desk.deliveries.execute([an_order(), a_step("assign")])
    desk.commands.execute([a_review()])
    desk.riders.record_pings([a_ping()])
    desk.deliveries.execute([a_step("pickup")])
    other.riders.record_pings([a_ping(t_ms=NOW_MS + 1)])
    # In memory the rider lacks the last ping.
    assert codes(desk.commands.execute([a_review(), a_closing()])) == ["repeat", "recorded"]
    rider = make_desk().riders.get("anna")
    assert (rider.version, rider.pings, rider.legs) == (8, 2, [["order-1", "to_customer"]])


def test_a_command_whose_commit_failed_leaves_nothing_in_memory(make_desk: MakeDesk) -> None:
    desk = make_desk()
    desk.riders.record_pings([a_ping()])
    append = desk.riders.command_log._append

    def lost_answer(events: Sequence[StoredEvent], redecide: Redecide) -> RecordedRef:
        append(events, redecide)
        raise OperationalError("the connection broke after the commit")

    desk.riders.command_log._append = lost_answer
    with pytest.raises(OperationalError):
        desk.commands.execute([a_closing()])
    desk.riders.command_log._append = append
    assert codes(desk.commands.execute([a_closing()])) == [StatementAlreadyClosed]
    (outcome,) = desk.riders.record_pings([a_ping(t_ms=NOW_MS + 1)])
    assert outcome.position == 4
