"""Riders and deliveries in one log: each stream on its own topic, whatever columns the table has."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from sqlalchemy import Engine, text

from domain.identifiers import shard_of
from infrastructure.cdc.wal_relay import ensure_slot
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.kafka.admin import ensure_topics
from infrastructure.kafka.topics import topics
from infrastructure.postgres import migrations
from infrastructure.postgres.engine import writer_engine
from infrastructure.settings.settings import Settings
from tests.support.postgres.delivery_events import log_events, whole_life
from tests.support.relay.relay_life import Life, records_of

EVENTS = log_events(command for number in range(40) for command in whole_life(f"order-{number}", f"rider-{number % 7}"))


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    assert settings.postgres_url is not None
    assert settings.kafka_bootstrap is not None
    engine = writer_engine(settings.postgres_url)
    ensure_topics(settings.kafka_bootstrap, list(topics(settings).values()), settings.topic_partitions)
    yield engine
    engine.dispose()


def assert_published(settings: Settings) -> None:
    """Every event is on the topic of its stream, in the order and under the seq of its shard, its bytes unchanged."""
    for stream in ("Rider", "Delivery"):
        seqs: dict[int, int] = {}
        expected = []
        for position, event in enumerate(EVENTS, start=1):
            if event.stream == stream:
                shard = shard_of(event.aggregate_key)
                seqs[shard] = seqs.get(shard, 0) + 1
                expected.append((position, shard, seqs[shard], event))
        records = records_of(settings, stream, at_least=len(expected))
        assert len(records) == len(expected) > 100
        by_position = {record.position: record for record in records}
        for position, shard, seq, event in expected:
            record = by_position[position]
            assert (record.key, record.value) == (event.aggregate_key.encode(), event.state)
            assert record.partition == shard % settings.topic_partitions
            assert dict(record.headers) == {
                "id": str(event.event_id).encode(),
                "eventType": event.topic.encode(),
                "version": str(event.originator_version).encode(),
                "position": str(position).encode(),
                "seq": str(seq).encode(),
            }
        for partition in range(settings.topic_partitions):
            positions = [record.position for record in records if record.partition == partition]
            assert positions == sorted(positions)


@pytest.mark.parametrize("relay", ["wal", "polling"])
def test_each_stream_is_published_to_its_own_topic(settings: Settings, engine: Engine, relay: str) -> None:
    settings = msgspec.structs.replace(settings, relay=relay)
    ensure_slot(engine, settings)
    recorder = EventRecorder(engine, partition_rows=100)
    for first in range(0, len(EVENTS), 90):
        recorder.insert_events(EVENTS[first : first + 90])
    life = Life(settings, engine)
    life.until_acknowledged(len(EVENTS))
    life.end()
    assert_published(settings)


_BY_THE_VERSION_BEFORE = text(
    "INSERT INTO events SELECT position, stream, shard, seq, aggregate_id, version, aggregate_type, aggregate_key,"
    " event_type, event_id, event_time, recorded_at, payload FROM before ORDER BY position"
)


def test_rows_from_before_the_migration_0010_are_relayed_with_those_after_it(
    settings: Settings, engine: Engine
) -> None:
    """The slot is at the first row: the relay reads the old table, the migration and the new table from the WAL."""
    assert settings.postgres_url is not None
    half = len(EVENTS) // 2
    EventRecorder(engine, partition_rows=100).insert_events(EVENTS[:half])
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE before AS SELECT * FROM events"))
        connection.execute(text("DELETE FROM events"))
    engine.dispose()
    migrations.downgrade(settings.postgres_url, "0009")
    ensure_slot(engine, settings)
    with engine.begin() as connection:
        connection.execute(_BY_THE_VERSION_BEFORE)
    engine.dispose()
    migrations.upgrade(settings.postgres_url)
    EventRecorder(engine, partition_rows=100).insert_events(EVENTS[half:])
    life = Life(settings, engine)
    life.until_acknowledged(len(EVENTS))
    life.end()
    assert_published(settings)
    with engine.connect() as connection:
        named = connection.execute(text("SELECT position FROM events WHERE command_id IS NOT NULL ORDER BY 1"))
        assert [row[0] for row in named] == list(range(half + 1, len(EVENTS) + 1))
