"""External servers whose Postgres can be restored to a backup, under a running ``serve`` or while none runs."""

from __future__ import annotations

import random
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from sqlalchemy import text

from domain.events.contracts import Codec
from domain.gps_ping import parse_ping
from domain.riders.application import Riders
from infrastructure.embedded.postgres import Postgres
from infrastructure.embedded.postgres_cluster import create_database
from infrastructure.embedded.tansu import Tansu
from infrastructure.embedded.valkey import Valkey
from infrastructure.event_store.aggregates import EventStoreFactory, SnapshotRecorder
from infrastructure.event_store.log_head import read_head
from infrastructure.event_store.log_reader import PostgresHistory
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.postgres.migrations import upgrade
from infrastructure.schema_registry.client import schema_ids
from infrastructure.settings.settings import Settings
from tests.support.kafka.consumer_probe import arrived
from tests.support.servers.servers import UNDURABLE, running
from tests.support.worlds.accounting import Identity

NOW_MS = time.time_ns() // 1_000_000


class RestorableServers:
    """Postgres, Valkey and a broker. A backup is a copy of Postgres' files, as in docs/backup.md."""

    def __init__(self, folder: Path, postgres: Postgres, redis_url: str, kafka: str) -> None:
        self.postgres = postgres
        self.settings = {"postgres_url": postgres.url, "redis_url": redis_url, "kafka_bootstrap": kafka}
        self._folder = folder
        self._home = postgres.data_dir / "postgres"

    def back_up(self, name: str) -> None:
        self.postgres.stop()
        subprocess.run(["cp", "-a", self._home, self._folder / name], check=True)
        self.postgres.start()

    def restore(self, name: str) -> None:
        self.postgres.stop()
        self._home.rename(self._folder / f"lost-{uuid.uuid4().hex[:6]}")
        subprocess.run(["cp", "-a", self._folder / name, self._home], check=True)
        self.postgres.start()

    def record(self, pings: Sequence[dict[str, Any]]) -> set[Identity]:
        """Record pings directly in the event store, as a second API does."""
        engine = writer_engine(self.postgres.url)
        codec = Codec(schema_ids(Settings(), engine))
        factory = EventStoreFactory(EventRecorder(engine), SnapshotRecorder(engine), codec)
        outcomes = Riders(factory, PostgresHistory(engine)).record_pings([parse_ping(p, NOW_MS) for p in pings])
        engine.dispose()
        assert all(outcome.is_new for outcome in outcomes)
        return identities(pings)

    def create_database(self, name: str) -> None:
        create_database(self.postgres.database_url("postgres"), name)

    def head(self) -> int:
        engine = reader_engine(self.postgres.url)
        with engine.connect() as connection:
            position = read_head(connection).position
        engine.dispose()
        return int(position)

    def not_in_topic(self) -> set[tuple[int, str]]:
        """(position, event id) of the events of the log that are missing in the topic gps-pings."""
        engine = reader_engine(self.postgres.url)
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT position, event_id::text FROM events")).all()
        engine.dispose()
        wanted = {(int(position), str(event_id)) for position, event_id in rows}
        kafka = {"bootstrap.servers": self.settings["kafka_bootstrap"], "group.id": uuid.uuid4().hex}
        consumer = Consumer(kafka)
        consumer.assign([TopicPartition("gps-pings", partition, OFFSET_BEGINNING) for partition in range(8)])
        try:
            while wanted and (messages := arrived(consumer, 2.0)):
                for message in messages:
                    headers = dict(message.headers() or ())
                    wanted.discard((int(_text(headers["position"])), _text(headers["id"])))
        finally:
            consumer.close()
        return wanted


def _text(header: str | bytes | None) -> str:
    assert isinstance(header, bytes)
    return header.decode("ascii")


def pings(seed: str, count: int, riders: int = 12) -> list[dict[str, Any]]:
    """Pings of a few riders. The same seed gives the same pings; two seeds share none."""
    chance = random.Random(seed)
    return [
        {
            "rider_id": f"rider-{chance.randrange(riders)}",
            "latitude": 52.5 + chance.random() / 100,
            "longitude": 13.4 + chance.random() / 100,
            "event_timestamp_ms": NOW_MS - 1_000_000 + number * 200,
            "accuracy_meters": 5,
            "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        }
        for number in range(count)
    ]


def identities(items: Sequence[dict[str, Any]]) -> set[Identity]:
    return {(p["rider_id"], p["event_timestamp_ms"], p["event_id"]) for p in items}


@contextmanager
def restorable_servers(folder: Path) -> Iterator[RestorableServers]:
    """All three servers, running, with a migrated database."""
    at = folder / "servers"
    postgres, redis, kafka = Postgres(at, UNDURABLE), Valkey(at), Tansu(at)
    with ExitStack() as stack:
        for server in (postgres, redis, kafka):
            stack.enter_context(running(server))
        upgrade(postgres.url)
        yield RestorableServers(folder, postgres, redis.url, kafka.url)
