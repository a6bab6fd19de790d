"""Debezium replaces the tailer: the same records, and a switch in both directions without a gap."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, text

from infrastructure.cdc.relay_checkpoint import RelayCheckpointStore
from infrastructure.cdc.replication_slot import slot_state
from infrastructure.cdc.wal_relay import ensure_slot
from infrastructure.embedded.postgres import Postgres
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.redis.connection import connect_server
from infrastructure.settings.settings import Settings
from tests.support.kafka.debezium import Connect, overrides, tcp_home
from tests.support.postgres.log_events import events_of
from tests.support.postgres.recorded_log import write
from tests.support.relay.relay_life import Life, Published, assert_whole, records_of
from tests.support.relay.relay_load import with_topics
from tests.support.servers import java
from tests.support.servers.servers import UNDURABLE, fresh_database, make_template, running
from tests.support.waiting import eventually
from tests.support.worlds.projection_setup import Projected
from tests.support.worlds.rider_events import START_MS
from tests.support.worlds.speed_events import ping_data

RIDERS = ("bärta", "c" * 128, "ду", "'\\\" %s", *(f"rider-{number}" for number in range(100)))
PINGS = 2_000


@pytest.fixture(scope="module")
def tcp_postgres(servers_dir: Path) -> Iterator[Postgres]:
    """A PostgreSQL on TCP: Debezium does not support Unix sockets."""
    server = Postgres(tcp_home(servers_dir), UNDURABLE)
    with running(server):
        make_template(server)
        yield server


def settings_of(folder: Path, postgres_url: str, bootstrap: str) -> Settings:
    """With names that no other test uses."""
    checkpoint = f"t{uuid.uuid4().hex[:8]}"
    return Settings(
        data_dir=folder,
        postgres_url=postgres_url,
        kafka_bootstrap=bootstrap,
        topic_prefix=f"{checkpoint}.",
        slot_name=checkpoint,
        publication_name=checkpoint,
        consumer_group_prefix=checkpoint,
    )


@pytest.fixture(scope="module")
def debezium_settings(
    kafka_jars: Path, tcp_postgres: Postgres, apache_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """The worker's environment."""
    apache_server.start()
    with fresh_database(tcp_postgres) as url:
        yield settings_of(tmp_path_factory.mktemp("debezium"), url, apache_server.url)


@pytest.fixture(scope="module")
def connect_worker(debezium_settings: Settings) -> Iterator[Connect]:
    folder = debezium_settings.data_dir / "connect"
    with running(Connect(folder, java.jars("debezium"), debezium_settings)) as worker:
        yield worker


@pytest.fixture
def own_settings(tcp_postgres: Postgres, apache_bootstrap: str, tmp_path: Path) -> Iterator[Settings]:
    """A log that only this test uses."""
    with fresh_database(tcp_postgres) as url:
        yield settings_of(tmp_path, url, apache_bootstrap)


def pings(riders: tuple[str, ...], count: int) -> list[dict[str, Any]]:
    """Pings of ``riders`` in turn, fifty per transaction."""
    return [
        ping_data(riders[n % len(riders)], START_MS + n * 200, n)
        | {"event_type": "GpsPing", "recorded_ms": START_MS + n // 50}
        for n in range(count)
    ]


def by_partition(records: list[Published]) -> dict[int, list[Published]]:
    """Records by partition, with their headers as a set, because a client looks them up by name."""
    alike = [record._replace(headers=tuple(sorted(record.headers))) for record in records]
    return {p: list(of) for p, of in groupby(sorted(alike, key=lambda r: r.partition), lambda r: r.partition)}


def test_the_same_records_and_the_projection_runs_unchanged(
    debezium_settings: Settings, connect_worker: Connect, redis_url: str
) -> None:
    """Key, value, headers, partition and order match, for events written before and after Debezium's start."""
    theirs = debezium_settings
    checkpoint = f"{theirs.slot_name}o"
    ours = msgspec.structs.replace(
        theirs, topic_prefix=f"{checkpoint}.", slot_name=checkpoint, consumer_group_prefix=checkpoint
    )
    with with_topics(theirs) as engine, with_topics(ours):
        for one in (theirs, ours):
            ensure_slot(engine, one)
        write(engine, pings(("early",), PINGS), partition_rows=500)
        connect_worker.put("theirs")
        tail(ours, engine, PINGS)
        records_of(theirs, at_least=PINGS)
        client = connect_server(redis_url)
        projected = [Projected(one, client, generation) for generation, one in enumerate((theirs, ours), start=1)]
        for projection in projected:
            projection.until_applied(PINGS)
        # From here on, only the topic notifies the projections of new events.
        write(engine, pings(RIDERS, PINGS), partition_rows=500)
        placed = replace(events_of("order", 1, 1)[0], aggregate_type="Delivery", topic="Placed")
        odd = replace(events_of("odd", 1, 1)[0], aggregate_type="Unclassified")
        EventRecorder(engine).insert_events([placed, odd])
        tail(ours, engine, 2 * PINGS + 2)
        for projection in projected:
            projection.until_applied(2 * PINGS)
            assert (projection.runner.counters.filled, projection.runner.counters.gaps) == (PINGS, 0)
            projection.close()
        connect_worker.halt("theirs")
    assert projected[0].states() == projected[1].states()
    client.close()
    for stream, count in (("Rider", 2 * PINGS), ("Delivery", 1)):
        published = by_partition(records_of(theirs, stream, count))
        assert published == by_partition(records_of(ours, stream, count))
        assert sum(map(len, published.values())) == count


@pytest.mark.parametrize("delete_checkpoint", [False, True])
def test_from_the_tailer_to_debezium_and_back_leaves_no_gap(
    own_settings: Settings, connect_worker: Connect, delete_checkpoint: bool
) -> None:
    """As in docs/debezium.md. A checkpoint that was left behind costs only repetitions."""
    with with_topics(own_settings) as engine:
        recorder = EventRecorder(engine)
        recorder.insert_events(events_of("anna", 1, 300))
        tail(own_settings, engine, 300)
        recorder.insert_events(events_of("anna", 301, 300))
        connect_worker.put(own_settings.slot_name, overrides(own_settings))
        records_of(own_settings, at_least=600)
        beyond = slot_passes_the_end(own_settings, engine)
        eventually(beyond, within_s=60, what="the slot has passed what Debezium published")
        connect_worker.halt(own_settings.slot_name)
        recorder.insert_events(events_of("anna", 601, 300))
        if delete_checkpoint:
            with engine.begin() as connection:
                connection.execute(text("DELETE FROM relay_marks WHERE name = :name"), {"name": own_settings.slot_name})
        tail(own_settings, engine, 900)
        assert assert_whole(own_settings, 900) == (0 if delete_checkpoint else 300)


def test_debezium_that_returns_resumes_at_the_slot(own_settings: Settings, connect_worker: Connect) -> None:
    """Its own offsets are older, because our tailer has advanced the slot meanwhile. If kept, they sometimes fail.

    Debezium rejects them once the slot's restart_lsn has passed them too, and Postgres decides when that happens.
    """
    name = own_settings.slot_name
    with with_topics(own_settings) as engine:
        ensure_slot(engine, own_settings)
        recorder = EventRecorder(engine)
        recorder.insert_events(events_of("anna", 1, 100))
        connect_worker.put(name, overrides(own_settings))
        records_of(own_settings, at_least=100)
        eventually(slot_passes_the_end(own_settings, engine), within_s=60, what="the slot has passed all")
        connect_worker.halt(name)
        recorder.insert_events(events_of("anna", 101, 100))
        tail(own_settings, engine, 200)
        recorder.insert_events(events_of("anna", 201, 100))
        connect_worker.forget(name)
        connect_worker.resume(name)
        records_of(own_settings, at_least=400)
        # The tailer's checkpoint was at 0, so it repeated what Debezium had published. Debezium repeats what the tailer
        # had not confirmed to the slot when it ended: nothing or everything.
        assert assert_whole(own_settings, 300) in (100, 200)
        connect_worker.halt(name)


def tail(settings: Settings, engine: Engine, position: int) -> None:
    """Run our tailer until it has published up to ``position``, saved that and confirmed it to the slot."""
    life = Life(settings, engine)
    life.until_acknowledged(position)
    life.until(lambda: saved_position(settings, engine) == position, f"the checkpoint is {position}")
    life.end()


def saved_position(settings: Settings, engine: Engine) -> int:
    """The checkpoint's position, once an LSN was confirmed too; else 0."""
    checkpoint = RelayCheckpointStore(engine, settings.slot_name).read()
    return checkpoint.position if checkpoint is not None and checkpoint.confirmed_lsn else 0


def slot_passes_the_end(settings: Settings, engine: Engine) -> Callable[[], bool]:
    """A probe: whether the slot is confirmed beyond the present end of the WAL."""
    with engine.connect() as connection:
        end = int(connection.execute(text("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")).scalar_one())

    def passed() -> bool:
        with engine.connect() as connection:
            state = slot_state(connection, settings.slot_name)
        assert state is not None
        return state.confirmed >= end

    return passed
