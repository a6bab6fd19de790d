"""Whatever happens to the slot, the topic continues without a gap."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, text

from infrastructure.cdc.relay_checkpoint import ForeignLog, RelayCheckpointStore
from infrastructure.cdc.replication_slot import slot_state
from infrastructure.cdc.replication_stream import SlotInUse, StreamLost
from infrastructure.cdc.wal_relay import ensure_slot
from infrastructure.embedded.postgres import Postgres
from infrastructure.event_store.log_head import read_head
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.settings.settings import Settings
from tests.support.postgres.log_events import events_of
from tests.support.relay.relay_life import Life, assert_whole, records_of
from tests.support.relay.relay_load import with_topics, writing
from tests.support.servers.dropped_slots import drop_slot
from tests.support.servers.servers import UNDURABLE, fresh_database, make_template, running
from tests.support.waiting import eventually


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    with with_topics(settings) as one:
        yield one


@pytest.fixture
def small_slots(settings: Settings, servers_dir: Path) -> Iterator[Settings]:
    """``settings`` with a database on a separate server, whose slots lose their WAL quickly."""
    limits = {"max_slot_wal_keep_size": "1MB", "max_wal_size": "64MB", "min_wal_size": "32MB"}
    server = Postgres(servers_dir / "small", {**UNDURABLE, **limits})
    with running(server):
        make_template(server)
        with fresh_database(server) as url:
            yield msgspec.structs.replace(settings, postgres_url=url)


def checkpoint_of(settings: Settings, engine: Engine) -> int:
    """The checkpoint's position, once an LSN was confirmed too; else 0."""
    checkpoint = RelayCheckpointStore(engine, settings.slot_name).read()
    assert checkpoint is not None
    return checkpoint.position if checkpoint.confirmed_lsn else 0


def test_the_first_slot_of_a_log_with_history_publishes_it_from_the_start(settings: Settings, engine: Engine) -> None:
    EventRecorder(engine).insert_events(events_of("anna", 1, 5_000))
    life = Life(settings, engine)
    life.until_acknowledged(5_000)
    life.end()
    assert assert_whole(settings, 5_000) == 0
    assert life.progress.filled == 5_000


@pytest.mark.parametrize("recreated", [False, True])
def test_a_slot_dropped_under_load_leaves_no_gap(
    settings: Settings, engine: Engine, recreated: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if another process recreates it: the slot has the same name, but misses events."""
    with writing(settings) as recorded:
        life = Life(settings, engine)
        life.until(lambda: checkpoint_of(settings, engine) > 0, "a checkpoint is stored")
        drop_slot(engine, settings.slot_name, recreate=recreated)
        reached = recorded()

        life.until_raises(StreamLost, "the tailer loses its stream")
        life.end()
        eventually(lambda: recorded() > reached + 500, what="more is recorded while no tailer runs")
        with caplog.at_level(logging.WARNING, "ridelog.tailer"):
            life = Life(settings, engine)
            life.until_acknowledged(reached + 500)
    life.until_acknowledged(recorded())
    life.end()
    assert recorded() > reached + 500
    assert_whole(settings, recorded())
    warnings = [record.message for record in caplog.records if settings.slot_name in record.message]
    assert len(warnings) == 1
    assert ("another process" if recreated else "is missing") in warnings[0]
    assert life.progress.filled > 0


def test_an_invalidated_slot_is_recreated_and_leaves_no_gap(
    small_slots: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with with_topics(small_slots) as engine:
        recorder = EventRecorder(engine)
        recorder.insert_events(events_of("anna", 1, 100))
        life = Life(small_slots, engine)
        life.until_acknowledged(100)
        life.until(lambda: checkpoint_of(small_slots, engine) == 100, "the checkpoint is stored")
        life.end()
        recorder.insert_events(events_of("anna", 101, 2_000))

        def lost() -> bool:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 20000000))"))
                connection.execute(text("SELECT pg_switch_wal()"))
                connection.execute(text("CHECKPOINT"))
                state = slot_state(connection, small_slots.slot_name)
                assert state is not None
                return state.is_lost and state.invalidation_reason == "wal_removed"

        eventually(lost, within_s=60, what="the slot lost its WAL")
        recorder.insert_events(events_of("anna", 2_101, 900))
        life = Life(small_slots, engine)
        life.until_acknowledged(3_000)
        life.end()
        assert assert_whole(small_slots, 3_000) == 0
        assert life.progress.filled == 2_900
    assert "lost its WAL (wal_removed)" in caplog.text


def test_a_restored_database_has_no_slot_and_an_older_checkpoint(settings: Settings, engine: Engine) -> None:
    recorder = EventRecorder(engine)
    recorder.insert_events(events_of("anna", 1, 300))
    life = Life(settings, engine)
    life.until_acknowledged(300)
    life.end()
    drop_slot(engine, settings.slot_name)
    with engine.begin() as connection:
        connection.execute(text("UPDATE relay_marks SET position = 120"))
    recorder.insert_events(events_of("anna", 301, 50))
    life = Life(settings, engine)
    life.until_acknowledged(350)
    life.end()
    assert assert_whole(settings, 350) == 180


def replace_log(engine: Engine) -> None:
    """Another log in the same database: its first event is at position 1 again."""
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM events"))
        connection.execute(text("UPDATE log_head SET log_id = gen_random_uuid()"))
        connection.execute(text("UPDATE log_numbers SET position = 0, seqs = '{}', recorded_at = 'epoch'"))


def test_another_log_in_the_same_database_is_published_from_its_start(settings: Settings, engine: Engine) -> None:
    recorder = EventRecorder(engine)
    recorder.insert_events(events_of("anna", 1, 50))
    life = Life(settings, engine)
    life.until_acknowledged(50)
    replace_log(engine)
    EventRecorder(engine).insert_events(events_of("berta", 1, 20))

    life.until_raises(ForeignLog, "the tailer sees that the log is another one")
    life.end()
    life = Life(settings, engine)
    life.until_acknowledged(20)
    life.end()
    assert sum(record.key == b"berta" for record in records_of(settings)) == 20
    with engine.connect() as connection:
        assert RelayCheckpointStore(engine, settings.slot_name).read().log_id == read_head(connection).log_id  # type: ignore[union-attr]


def test_regression_wal_of_a_replaced_log_is_not_published_as_the_new_log(settings: Settings, engine: Engine) -> None:
    """The old log's events came first, with the new log's positions: the new events were dropped as repetitions."""
    Life(settings, engine).end()
    EventRecorder(engine).insert_events(events_of("anna", 1, 50))
    replace_log(engine)
    EventRecorder(engine).insert_events(events_of("berta", 1, 20))
    life = Life(settings, engine)
    life.until_acknowledged(20)
    life.end()
    found = sorted(records_of(settings), key=lambda record: record.position)
    assert [(record.key, record.position) for record in found] == [(b"berta", n) for n in range(1, 21)]


def test_heartbeats_advance_the_slot_of_an_idle_database(settings: Settings, engine: Engine) -> None:
    EventRecorder(engine).insert_events(events_of("anna", 1, 10))
    round_trips_s: list[float] = []
    life = Life(settings, engine, on_round_trip=round_trips_s.append)
    life.until_acknowledged(10)

    def confirmed() -> int:
        with engine.connect() as connection:
            state = slot_state(connection, settings.slot_name)
        assert state is not None
        return state.confirmed

    before = confirmed()

    life.until(lambda: len(round_trips_s) >= 2 and confirmed() > before, "heartbeats advance the slot")
    life.end()
    assert all(0 < seconds < 60 for seconds in round_trips_s)
    assert len(records_of(settings)) == 10


def test_a_standby_tailer_changes_nothing(settings: Settings, engine: Engine) -> None:
    life = Life(settings, engine)
    with pytest.raises(SlotInUse):
        ensure_slot(engine, settings)
    life.end()
