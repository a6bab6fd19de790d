"""A log whose clocks a test sets, in memory and in Postgres, for the contracts of archives and state snapshots."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from sqlalchemy import Engine, text

from domain.identifiers import aggregate_id
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.postgres.snapshots import PostgresStateSnapshots
from projections.core.snapshots import StateSnapshots
from projections.replay.archive import Archive
from projections.speed import SPEED
from tests.support.ports_in_memory.archive import MemoryArchive, MemorySnapshots
from tests.support.waiting import eventually

T0 = 1_700_000_000_000
"""Start time of a test's clocks: long past, so that a read of the machine's own clock stands out."""

PARTITION = 10
"""Positions per partition of the log."""

_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


class Given(NamedTuple):
    """One event to record: its key and its event time."""

    key: str
    event_ms: int
    number: int = 0

    def record(self) -> dict[str, Any]:
        return {"rider_id": self.key, "event_timestamp_ms": self.event_ms, "number": self.number}


class World(Protocol):
    """``now_ms`` is the resolvers' clock; each call of ``record`` is one transaction of a writer with its own."""

    now_ms: int
    archive: Archive

    def record(self, events: Sequence[Given], recorded_ms: int) -> None: ...

    def detach(self) -> None:
        """Detach the partition with the first PARTITION positions."""
        ...

    def snapshots(self, every: int) -> StateSnapshots: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.now_ms = T0 + 1_000_000
        self.log = MemoryArchive(lambda: self.now_ms)
        self.archive: Archive = self.log

    def record(self, events: Sequence[Given], recorded_ms: int) -> None:
        for event in events:
            self.log.append(event.key, "GpsPing", event.record(), recorded_ms=recorded_ms)

    def detach(self) -> None:
        self.log.detach(PARTITION)

    def snapshots(self, every: int) -> StateSnapshots:
        return MemorySnapshots(self.log, every)


class PostgresWorld:
    def __init__(self, writer: Engine, reader: Engine) -> None:
        self.now_ms = T0 + 1_000_000
        self.writer, self.reader = writer, reader
        self.archive: Archive = PostgresArchive(reader, lambda: self.now_ms)
        self._clock_ms = 0
        self._recorder = EventRecorder(writer, partition_rows=PARTITION, clock=lambda: self._clock_ms)
        self._versions: dict[str, int] = {}

    def record(self, events: Sequence[Given], recorded_ms: int) -> None:
        self._clock_ms = recorded_ms
        self._recorder.insert_events([self.event(given) for given in events])

    def detach(self) -> None:
        with self.writer.begin() as connection:
            connection.execute(text("ALTER TABLE events DETACH PARTITION events_p00000000000000000001"))

    def snapshots(self, every: int) -> StateSnapshots:
        return PostgresStateSnapshots(self.reader, SPEED, every)

    def until_waiting(self, count: int) -> None:
        """Wait until ``count`` backends of this database wait for a lock."""
        eventually(lambda: self._waiting() >= count, what=f"{count} backends wait for a lock")

    def _waiting(self) -> int:
        with self.writer.connect() as connection:
            return int(connection.execute(_WAITING).scalar_one())

    def event(self, given: Given) -> LogEvent:
        """The next event of its key, to be recorded with any recorder."""
        version = self._versions[given.key] = self._versions.get(given.key, 0) + 1
        payload = json.dumps(given.record()).encode()
        aggregate = aggregate_id("Rider", given.key)
        return LogEvent(
            aggregate, version, "GpsPing", payload, "Rider", given.key, UUID(int=given.number), given.event_ms
        )


@contextmanager
def postgres_world(url: str) -> Iterator[PostgresWorld]:
    writer, reader = writer_engine(url), reader_engine(url)
    try:
        yield PostgresWorld(writer, reader)
    finally:
        writer.dispose()
        reader.dispose()
