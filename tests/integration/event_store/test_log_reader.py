"""What commands and projections read from the log in Postgres, by each way that their ports name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import pytest
from eventsourcing.persistence import StoredEvent
from sqlalchemy import Engine, text

from domain.event_store import PingIdentity, PositionedEvent, RecordedPayload, RecordedVersion
from domain.identifiers import SHARDS, aggregate_id, shard_of
from infrastructure.event_store.aggregates import SnapshotRecorder
from infrastructure.event_store.log_head import read_head
from infrastructure.event_store.log_reader import PostgresHistory, PostgresLog
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine, writer_engine
from projections.core.ports import LoggedEvent, PortUnavailable
from tests.support.postgres.log_events import events_of

ANNA, BEN = aggregate_id("Rider", "anna"), aggregate_id("Rider", "ben")
NOBODY = aggregate_id("Rider", "nobody")


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    """A log with four events of anna at the positions 1, 2, 4 and 5, and one of ben at 3, each with its payload."""
    engine = writer_engine(postgres_url)
    recorder = EventRecorder(engine)
    for key, first, count in (("anna", 1, 2), ("ben", 1, 1), ("anna", 3, 2)):
        events = events_of(key, first, count)
        recorder.insert_events([replace(one, state=payload(key, one.originator_version)) for one in events])
    yield engine
    engine.dispose()


def payload(key: str, version: int) -> bytes:
    return f"{key} {version}".encode()


def anna(position: int, version: int) -> LoggedEvent:
    return LoggedEvent(position, shard_of("anna"), version, "anna", version, "GpsPing", payload("anna", version))


BENS = LoggedEvent(3, shard_of("ben"), 1, "ben", 1, "GpsPing", payload("ben", 1))
ANNAS = [anna(1, 1), anna(2, 2), anna(4, 3), anna(5, 4)]


def test_the_head_has_the_last_position_and_the_last_seq_of_each_shard_of_a_stream(engine: Engine) -> None:
    with engine.connect() as connection:
        log_id = read_head(connection).log_id
    log = PostgresLog(engine)
    seqs = [{shard_of("anna"): 4, shard_of("ben"): 1}.get(shard, 0) for shard in range(SHARDS)]
    assert log.head("Rider") == (log_id, 5, seqs)
    assert log.head("Delivery") == (log_id, 5, [0] * SHARDS)


def test_a_shard_is_read_after_a_seq_in_order_and_up_to_a_limit(engine: Engine) -> None:
    read, shard = PostgresLog(engine).read_shard, shard_of("anna")
    assert read("Rider", shard, 0, 9) == ANNAS
    assert read("Rider", shard, 1, 2) == ANNAS[1:3]
    assert read("Rider", shard, 4, 9) == []
    assert read("Rider", shard_of("ben"), 0, 9) == [BENS]
    assert read("Delivery", shard, 0, 9) == []


def test_positions_are_read_of_the_shards_that_are_named_between_two_ends(engine: Engine) -> None:
    read, both = PostgresLog(engine).read_positions, [shard_of("anna"), shard_of("ben")]
    assert read("Rider", both, 0, 5) == [*ANNAS[:2], BENS, *ANNAS[2:]]
    assert read("Rider", both, 1, 4) == [ANNAS[1], BENS, ANNAS[2]]
    assert read("Rider", [shard_of("ben")], 0, 5) == [BENS]
    assert read("Delivery", both, 0, 5) == read("Rider", [], 0, 5) == []


def test_a_key_is_read_from_a_version_up_to_a_seq(engine: Engine) -> None:
    read = PostgresLog(engine).read_key
    assert read("Rider", "anna", 1, 9) == ANNAS
    assert read("Rider", "anna", 2, 3) == ANNAS[1:3]
    assert read("Rider", "anna", 1, 9, limit=1) == ANNAS[:1]
    assert read("Rider", "nobody", 1, 9) == read("Delivery", "anna", 1, 9) == []


def test_events_are_read_at_positions_and_those_that_do_not_exist_are_absent(engine: Engine) -> None:
    log = PostgresLog(engine)
    assert log.events_at([5, 3, 99]) == {5: ANNAS[3], 3: BENS}
    assert log.events_at([]) == {}


def test_discarded_positions_are_those_of_the_projection(engine: Engine) -> None:
    with engine.begin() as connection:
        insert = (
            "INSERT INTO discarded_events (projection, position, key, who, why) VALUES (:name, :position, '', '', '')"
        )
        for projection, position in (("speed", 2), ("speed", 4), ("locations", 3)):
            connection.execute(text(insert), {"name": projection, "position": position})
    log = PostgresLog(engine)
    assert log.discarded("speed") == {2, 4}
    assert log.discarded("locations") == {3}
    assert log.discarded("profile") == frozenset()


def test_a_log_without_its_server_is_unavailable() -> None:
    engine = reader_engine("postgresql://nobody@127.0.0.1:1/nothing")
    log = PostgresLog(engine)
    for act in (
        lambda: log.head("Rider"),
        lambda: log.read_shard("Rider", 0, 0, 1),
        lambda: log.read_positions("Rider", [0], 0, 1),
        lambda: log.read_key("Rider", "anna", 1, 1),
        lambda: log.discarded("speed"),
        lambda: log.events_at([1]),
    ):
        with pytest.raises(PortUnavailable):
            act()
    engine.dispose()


# --- for commands


def test_a_ping_is_found_by_its_rider_its_time_and_its_id(engine: Engine) -> None:
    history = PostgresHistory(engine)
    second = PingIdentity(ANNA, 1_790_000_000_002, str(UUID(int=2)))
    bens = PingIdentity(BEN, 1_790_000_000_001, str(UUID(int=1)))
    others = [
        second._replace(aggregate_id=BEN),
        second._replace(event_timestamp_ms=1_790_000_000_003),
        second._replace(event_id=str(UUID(int=3))),
    ]
    assert history.find_pings([others[0], second, *others[1:], bens]) == {
        second: RecordedPayload(2, payload("anna", 2)),
        bens: RecordedPayload(3, payload("ben", 1)),
    }
    assert history.find_pings([]) == {}


def test_the_last_version_of_an_aggregate_has_its_position(engine: Engine) -> None:
    history = PostgresHistory(engine)
    assert history.latest([ANNA, NOBODY, BEN]) == {ANNA: RecordedVersion(4, 5), BEN: RecordedVersion(1, 3)}
    assert history.latest([]) == {}


def test_the_last_version_of_an_aggregate_without_events_is_that_of_its_newest_snapshot(engine: Engine) -> None:
    """Its events were detached with their partition, and its versions continue."""
    SnapshotRecorder(engine).insert_events([StoredEvent(NOBODY, version, "Rider", b"") for version in (10, 20)])
    assert PostgresHistory(engine).latest([NOBODY]) == {NOBODY: RecordedVersion(20, 0)}


def test_a_stream_begins_with_its_newest_snapshot_and_has_the_events_after_it(engine: Engine) -> None:
    snapshots = SnapshotRecorder(engine)
    stored = [StoredEvent(ANNA, version, "a topic", f"state {version}".encode()) for version in (2, 3)]
    snapshots.insert_events(stored)
    found = PostgresHistory(engine).streams([BEN, ANNA, NOBODY])
    assert found == {
        ANNA: [stored[1], PositionedEvent(ANNA, 4, "GpsPing", payload("anna", 4), 5)],
        BEN: [PositionedEvent(BEN, 1, "GpsPing", payload("ben", 1), 3)],
    }
    assert PostgresHistory(engine).streams([]) == {}


def test_snapshots_are_read_back_by_version(engine: Engine) -> None:
    snapshots = SnapshotRecorder(engine)
    stored = [StoredEvent(ANNA, version, f"topic {version}", f"state {version}".encode()) for version in (2, 3, 4)]
    snapshots.insert_events(stored)
    assert snapshots.select_events(ANNA) == stored
    assert snapshots.select_events(ANNA, gt=2, lte=3) == [stored[1]]
    assert snapshots.select_events(ANNA, desc=True, limit=2) == [stored[2], stored[1]]
    assert snapshots.latest([ANNA, BEN]) == {ANNA: stored[2]}


def test_events_of_an_aggregate_are_read_by_version(engine: Engine) -> None:
    read = EventRecorder(engine).select_events
    stored = [StoredEvent(ANNA, version, "GpsPing", payload("anna", version)) for version in (1, 2, 3, 4)]
    assert read(ANNA) == stored
    assert read(ANNA, gt=1, lte=3) == stored[1:3]
    assert read(ANNA, limit=2) == stored[:2]
    assert read(ANNA, desc=True, limit=1) == [stored[3]]
    assert read(NOBODY) == []
