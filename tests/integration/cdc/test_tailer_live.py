"""The tailer on a real WAL and a real broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from domain.identifiers import shard_of
from infrastructure.cdc.replication_slot import SlotUnusable, create_slot, ensure_publication, slot_state
from infrastructure.cdc.replication_stream import SlotInUse
from infrastructure.cdc.wal_relay import ensure_slot
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.kafka.admin import ensure_topics
from infrastructure.kafka.topics import topics
from infrastructure.postgres.engine import writer_engine
from infrastructure.settings.settings import Settings
from tests.support.postgres.log_events import events_of
from tests.support.relay.relay_life import Life, published, relay_of
from tests.support.waiting import eventually


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    assert settings.postgres_url is not None
    assert settings.kafka_bootstrap is not None
    engine = writer_engine(settings.postgres_url)
    ensure_topics(settings.kafka_bootstrap, list(topics(settings).values()), settings.topic_partitions)
    ensure_slot(engine, settings)
    yield engine
    engine.dispose()


def test_bytes_arrive_unchanged_and_in_order(settings: Settings, engine: Engine) -> None:
    payloads = [bytes([n % 256]) * (n + 1) for n in range(300)]
    recorder = EventRecorder(engine, partition_rows=100)
    for version, payload in enumerate(payloads, start=1):
        recorder.insert_events(events_of("anna", version, 1, payload))
    life = Life(settings, engine)
    life.until_acknowledged(300)
    life.end()
    assert published(settings) == [(shard_of("anna"), n, payload) for n, payload in enumerate(payloads, start=1)]


def test_a_killed_tailer_resumes_without_a_gap(settings: Settings, engine: Engine) -> None:
    recorder = EventRecorder(engine)
    for part in range(3):
        recorder.insert_events(events_of("anna", 1 + part * 100, 100))
        life = Life(settings, engine)
        life.until_acknowledged((part + 1) * 100)
        life.end()
    seqs = [seq for _, seq, _ in published(settings)]
    newest = 0
    for seq in seqs:
        assert seq <= newest + 1, "a record came before an earlier one"
        newest = max(newest, seq)
    assert set(seqs) == set(range(1, 301))


def test_a_large_transaction_goes_through_whole_and_in_order(settings: Settings, engine: Engine) -> None:
    count = 100_000
    EventRecorder(engine).insert_events(events_of("anna", 1, count))
    life = Life(settings, engine)
    life.until_acknowledged(count)
    life.end()
    assert [seq for _, seq, _ in published(settings)] == list(range(1, count + 1))


def test_an_idle_slot_advances(settings: Settings, engine: Engine) -> None:
    life = Life(settings, engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE noise AS SELECT generate_series(1, 50000)"))
        target = connection.execute(text("SELECT pg_current_wal_lsn()")).scalar_one()

    def advanced() -> bool:
        life.relay.step(0.05)
        with engine.connect() as connection:
            behind = text(
                "SELECT confirmed_flush_lsn >= CAST(:lsn AS pg_lsn) FROM pg_replication_slots WHERE slot_name = :s"
            )
            return bool(connection.execute(behind, {"lsn": target, "s": settings.slot_name}).scalar_one())

    eventually(advanced, within_s=60, every_s=0, what="the slot passes WAL of tables that are not published")
    life.end()


def test_a_second_tailer_of_the_same_slot_is_rejected(settings: Settings, engine: Engine) -> None:
    life = Life(settings, engine)
    with pytest.raises(SlotInUse), relay_of(settings, engine):
        pass
    life.end()


def test_publication_and_slot_are_created_once_and_repaired(settings: Settings, engine: Engine) -> None:
    ensure_slot(engine, settings)
    with engine.begin() as connection:
        connection.execute(text(f"ALTER PUBLICATION {settings.publication_name} SET (publish = 'insert, update')"))
        connection.execute(text(f"ALTER PUBLICATION {settings.publication_name} SET TABLE events"))
    ensure_slot(engine, settings)
    EventRecorder(engine).insert_events(events_of("anna", 1, 3))
    life = Life(settings, engine)
    life.until_acknowledged(3)
    life.end()
    with engine.connect() as connection:
        state = slot_state(connection, settings.slot_name)
    assert state is not None
    assert state.wal_status == "reserved"


@pytest.mark.parametrize("name", ["", "Upper", "a-b", "x; drop table events", "x" * 64])
def test_names_that_are_not_identifiers_are_rejected(settings: Settings, engine: Engine, name: str) -> None:
    with pytest.raises(SlotUnusable):
        ensure_publication(engine, name)
    with pytest.raises(SlotUnusable):
        create_slot(engine, name)
