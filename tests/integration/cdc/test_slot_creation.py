"""What a tailer does with the slot that it finds, and where it resumes; without a broker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from infrastructure.cdc.relay_checkpoint import RelayCheckpoint, RelayCheckpointStore
from infrastructure.cdc.replication_slot import SlotUnusable, create_slot, drop_slot, ensure_publication, slot_state
from infrastructure.cdc.replication_stream import ReplicationStream, SlotInUse
from infrastructure.cdc.wal_relay import ensure_slot
from infrastructure.event_store.log_head import read_head
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.observability import metrics
from infrastructure.postgres.engine import writer_engine
from infrastructure.settings.settings import Settings
from tests.support.postgres.log_events import events_of

EVENTS = 5


@pytest.fixture
def one(tmp_path: Path, postgres_url: str) -> Settings:
    """Settings with a database of the test's own, and a slot and a publication that no other test uses."""
    name = f"test_{uuid.uuid4().hex[:8]}"
    return Settings(data_dir=tmp_path, postgres_url=postgres_url, slot_name=name, publication_name=name)


@pytest.fixture
def engine(one: Settings) -> Iterator[Engine]:
    """A log with EVENTS events."""
    assert one.postgres_url is not None
    engine = writer_engine(one.postgres_url)
    EventRecorder(engine).insert_events(events_of("anna", 1, EVENTS))
    yield engine
    engine.dispose()


def log_of(engine: Engine) -> UUID:
    with engine.connect() as connection:
        return read_head(connection).log_id


def confirmed_of(engine: Engine, slot: str) -> int:
    with engine.connect() as connection:
        state = slot_state(connection, slot)
    assert state is not None
    return state.confirmed


def creations(engine: Engine, one: Settings) -> list[str]:
    """The reasons for which ``ensure_slot`` now reports that the slot misses events."""
    reasons = ("first", "missing", "lost", "log", "elsewhere")
    for reason in reasons:
        metrics.SLOT_MADE_AT.labels(reason).set(0)
    ensure_slot(engine, one)
    return [reason for reason in reasons if metrics.SLOT_MADE_AT.labels(reason)._value.get() > 0]


def test_the_first_slot_of_a_log_is_created_with_a_checkpoint_before_its_first_event(
    engine: Engine, one: Settings
) -> None:
    assert creations(engine, one) == ["first"]
    assert RelayCheckpointStore(engine, one.slot_name).read() == RelayCheckpoint(log_of(engine), 0, 0, {})
    assert confirmed_of(engine, one.slot_name) > 0


def test_a_slot_that_is_where_the_relay_left_it_is_not_touched(
    engine: Engine, one: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    ensure_slot(engine, one)
    confirmed = confirmed_of(engine, one.slot_name)
    RelayCheckpointStore(engine, one.slot_name).advance(log_of(engine), 3, confirmed)
    EventRecorder(engine).insert_events(events_of("berta", 1, 1))
    assert creations(engine, one) == []
    assert confirmed_of(engine, one.slot_name) == confirmed
    assert RelayCheckpointStore(engine, one.slot_name).read() == RelayCheckpoint(log_of(engine), 3, confirmed, {})
    assert caplog.messages == []


def test_a_dropped_slot_is_recreated_and_the_checkpoint_keeps_its_position(
    engine: Engine, one: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    ensure_slot(engine, one)
    store = RelayCheckpointStore(engine, one.slot_name)
    store.advance(log_of(engine), 3, 70)
    drop_slot(engine, one.slot_name)
    assert creations(engine, one) == ["missing"]
    # Without its LSN: the new slot may start at any.
    assert store.read() == RelayCheckpoint(log_of(engine), 3, 0, {})
    assert caplog.messages == [
        f"replication slot {one.slot_name} is missing (dropped, or the database was restored): it is recreated, "
        "the topic continues after position 3, from the event store where the slot misses events"
    ]


def test_a_slot_that_another_process_advanced_is_kept_and_reported(
    engine: Engine, one: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    ensure_slot(engine, one)
    store = RelayCheckpointStore(engine, one.slot_name)
    left_at = confirmed_of(engine, one.slot_name)
    store.advance(log_of(engine), 3, left_at)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE noise AS SELECT generate_series(1, 1000)"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        advance = text("SELECT pg_replication_slot_advance(:slot, pg_current_wal_lsn())")
        connection.execute(advance, {"slot": one.slot_name})
    advanced = confirmed_of(engine, one.slot_name)
    assert advanced > left_at
    assert creations(engine, one) == ["elsewhere"]
    assert confirmed_of(engine, one.slot_name) == advanced
    assert store.read() == RelayCheckpoint(log_of(engine), 3, left_at, {})
    (line,) = caplog.messages
    assert "is not where this relay left it" in line
    assert "recreated, the topic" not in line


def test_the_slot_is_recreated_with_a_publication_that_was_dropped(
    engine: Engine, one: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """PostgreSQL 15 to 17 answer to WAL of before the publication that it does not exist, at each start again."""
    ensure_slot(engine, one)
    store = RelayCheckpointStore(engine, one.slot_name)
    left_at = confirmed_of(engine, one.slot_name)
    store.advance(log_of(engine), 3, left_at)
    with engine.begin() as connection:
        connection.execute(text(f"DROP PUBLICATION {one.publication_name}"))
    EventRecorder(engine).insert_events(events_of("berta", 1, 1))
    assert creations(engine, one) == ["missing"]
    assert confirmed_of(engine, one.slot_name) > left_at
    assert store.read() == RelayCheckpoint(log_of(engine), 3, 0, {})
    assert caplog.messages == [
        f"publication {one.publication_name} was dropped, and the slot has WAL of before the new one: it is recreated, "
        "the topic continues after position 3, from the event store where the slot misses events"
    ]


def test_the_slot_of_a_replaced_log_is_recreated_and_the_new_log_is_published_from_its_start(
    engine: Engine, one: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The WAL that is left in the slot has the same positions with other events."""
    ensure_slot(engine, one)
    store = RelayCheckpointStore(engine, one.slot_name)
    old_log, before = log_of(engine), confirmed_of(engine, one.slot_name)
    store.advance(old_log, 3, before)
    with engine.begin() as connection:
        connection.execute(text("UPDATE log_head SET log_id = gen_random_uuid()"))
    assert creations(engine, one) == ["log"]
    assert store.read() == RelayCheckpoint(log_of(engine), 0, 0, {})
    assert confirmed_of(engine, one.slot_name) > before
    (line,) = caplog.messages
    assert line.startswith(f"the log {old_log} was replaced by {log_of(engine)}: the topic continues with the new log")
    assert "it is recreated, the topic continues after position 0" in line


def test_a_log_that_was_restored_to_before_the_checkpoint_continues_from_its_end(engine: Engine, one: Settings) -> None:
    ensure_slot(engine, one)
    store = RelayCheckpointStore(engine, one.slot_name)
    store.advance(log_of(engine), EVENTS, 70)
    with engine.begin() as connection:
        connection.execute(text("UPDATE log_numbers SET position = 2"))
    assert creations(engine, one) == ["log"]
    assert store.read() == RelayCheckpoint(log_of(engine), 2, 0, {})


# --- slots of others


def test_a_slot_that_is_read_by_a_tailer_of_this_log_is_in_use(engine: Engine, one: Settings) -> None:
    ensure_slot(engine, one)
    assert one.postgres_url is not None
    stream = ReplicationStream(one.postgres_url, one.slot_name, one.publication_name)
    with pytest.raises(SlotInUse, match=one.slot_name):
        ensure_slot(engine, one)
    stream.close()


def test_a_slot_that_another_program_reads_is_not_waited_for(engine: Engine, one: Settings) -> None:
    ensure_publication(engine, one.publication_name)
    create_slot(engine, one.slot_name)
    assert one.postgres_url is not None
    stream = ReplicationStream(one.postgres_url, one.slot_name, one.publication_name)
    with pytest.raises(SlotUnusable, match="RIDELOG_SLOT_NAME and RIDELOG_PUBLICATION_NAME"):
        ensure_slot(engine, one)
    stream.close()


def test_a_slot_of_a_log_that_has_no_publication_is_not_taken(engine: Engine, one: Settings) -> None:
    create_slot(engine, one.slot_name)
    with pytest.raises(SlotUnusable, match="belongs to another log"):
        ensure_slot(engine, one)
    assert RelayCheckpointStore(engine, one.slot_name).read() is None


def test_an_idle_slot_with_a_publication_is_of_a_tailer_from_before_checkpoints(engine: Engine, one: Settings) -> None:
    ensure_publication(engine, one.publication_name)
    create_slot(engine, one.slot_name)
    confirmed = confirmed_of(engine, one.slot_name)
    assert creations(engine, one) == []
    assert confirmed_of(engine, one.slot_name) == confirmed
