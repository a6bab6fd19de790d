"""Implements the read ports of the domain (History) and of the projections (Log) on the event store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from sqlalchemy import Engine

from domain.event_store import CommandRef, PingIdentity, RecordedPayload, RecordedVersion
from domain.identifiers import aggregate_id
from infrastructure.event_store import queries as reads
from infrastructure.event_store.aggregates import SnapshotRecorder
from infrastructure.event_store.log_head import read_head
from infrastructure.postgres.errors import as_library_errors, unavailable_as_port_error
from projections.core.ports import LoggedEvent, LogHead


class PostgresHistory:
    """Reads earlier events for commands (``domain.event_store.History``)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._snapshots = SnapshotRecorder(engine)

    def find_pings(self, identities: Sequence[PingIdentity]) -> dict[PingIdentity, RecordedPayload]:
        if not identities:
            return {}
        with as_library_errors(), self._engine.connect() as connection:
            return reads.find_pings(connection, identities)

    def find_commands(self, refs: Sequence[CommandRef]) -> dict[CommandRef, list[StoredEvent]]:
        if not refs:
            return {}
        with as_library_errors(), self._engine.connect() as connection:
            return reads.find_commands(connection, refs)

    def streams(self, aggregates: Iterable[UUID]) -> dict[UUID, list[StoredEvent]]:
        wanted = list(aggregates)
        found: dict[UUID, list[StoredEvent]] = {a: [s] for a, s in self._snapshots.latest(wanted).items()}
        after = [(a, found[a][0].originator_version if a in found else 0) for a in wanted]
        with as_library_errors(), self._engine.connect() as connection:
            for event in reads.streams_after(connection, after):
                assert isinstance(event.originator_id, UUID)
                found.setdefault(event.originator_id, []).append(event)
        return found

    def latest(self, aggregates: Iterable[UUID]) -> dict[UUID, RecordedVersion]:
        with as_library_errors(), self._engine.connect() as connection:
            return reads.latest(connection, list(aggregates))


class PostgresLog:
    """Reads the log for projections (``projections.core.ports.Log``): committed events only, in order, without gaps.

    Raises PortUnavailable.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def head(self, stream: str) -> LogHead:
        with unavailable_as_port_error(), self._engine.connect() as connection:
            head = read_head(connection)
        return LogHead(head.log_id, head.position, head.shards_of(stream))

    def read_shard(self, stream: str, shard: int, after_seq: int, limit: int) -> list[LoggedEvent]:
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return reads.read_shard(connection, stream, shard, after_seq, limit)

    def read_positions(self, stream: str, shards: Sequence[int], after: int, upto: int) -> list[LoggedEvent]:
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return reads.read_positions(connection, stream, shards, after, upto)

    def read_key(
        self, stream: str, key: str, from_version: int, upto_seq: int, limit: int | None = None
    ) -> list[LoggedEvent]:
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return reads.read_key(connection, aggregate_id(stream, key), from_version, upto_seq, limit)

    def discarded(self, projection: str) -> frozenset[int]:
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return reads.discarded(connection, projection)

    def events_at(self, positions: Sequence[int]) -> dict[int, LoggedEvent]:
        if not positions:
            return {}
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return reads.events_at(connection, positions)
