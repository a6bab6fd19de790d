"""Appends one batch: lock, check, number, COPY. No other code assigns position, seq and recorded_at.

The rows go to ``events`` in Postgres' binary COPY format. The columns that do not depend on the lock are packed before
it is taken (``static_part``). Inside the lock a row costs one more pack.
Format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from io import BytesIO
from uuid import UUID

from eventsourcing.persistence import IntegrityError
from sqlalchemy import Connection, text

from domain.event_store import ClockAhead, OrderBroken
from domain.identifiers import shard_of
from domain.timestamps import epoch_ms
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.event_store.log_head import Clock, LogHeadRow, write_head
from infrastructure.event_store.version_cache import LastSeenEvent
from infrastructure.postgres.broken_connections import discarding_unusable

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)

COPY_SQL = (
    "COPY events (position, seq, recorded_at, stream, shard, aggregate_id, aggregate_type, aggregate_key,"
    " version, event_id, event_time, event_type, payload, command_id, caused_by)"
    " FROM STDIN (FORMAT binary, ENCODING 'UTF8')"
)
_FIELDS = 15

POSTGRES_EPOCH_MS = 946_684_800_000
"""2000-01-01, the zero of Postgres' timestamptz."""

_LOCKED = struct.Struct(">hiqiqiq")
_EVENT = struct.Struct(">iqi16siq")
_LENGTH = struct.Struct(">i")
_NULL = _LENGTH.pack(-1)
_NO_CAUSE = _NULL + _NULL


def _field(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data


@lru_cache(maxsize=65_536)
def _aggregate_part(stream: str, aggregate: UUID, aggregate_type: str, key: str) -> bytes:
    return b"".join(
        (
            _field(stream.encode()),
            struct.pack(">ih", 2, shard_of(key)),
            _field(aggregate.bytes),
            _field(aggregate_type.encode()),
            _field(key.encode()),
        )
    )


@lru_cache(maxsize=1024)
def _type_part(event_type: str) -> bytes:
    return _field(event_type.encode())


def micros(epoch_ms: int) -> int:
    return (epoch_ms - POSTGRES_EPOCH_MS) * 1000


def static_part(event: LogEvent) -> bytes:
    """Packs all columns of a row except position, seq and recorded_at."""
    aggregate = event.originator_id
    assert isinstance(aggregate, UUID)
    return b"".join(
        (
            _aggregate_part(event.stream, aggregate, event.aggregate_type, event.aggregate_key),
            _EVENT.pack(8, event.originator_version, 16, event.event_id.bytes, 8, micros(event.event_time_ms)),
            _type_part(event.topic),
            _LENGTH.pack(len(event.state)),
            event.state,
            _NO_CAUSE if event.command_id is None and event.caused_by is None else _cause_part(event),
        )
    )


def _cause_part(event: LogEvent) -> bytes:
    return b"".join(
        (
            _NULL if event.command_id is None else _field(event.command_id.encode()),
            _NULL if event.caused_by is None else _field(event.caused_by.bytes),
        )
    )


def locked_part(position: int, seq: int, recorded_at_micros: int) -> bytes:
    """Packs the columns that are assigned while the log's lock is held. They come first in a row."""
    return _LOCKED.pack(_FIELDS, 8, position, 8, seq, 8, recorded_at_micros)


_LATEST_VERSIONS = text(
    "SELECT u.id, coalesce("
    "  (SELECT e.version FROM events e WHERE e.aggregate_id = u.id ORDER BY e.version DESC LIMIT 1),"
    # All of its events were detached. Its versions continue from its snapshot, from which it is also loaded.
    "  (SELECT s.version FROM snapshots s WHERE s.aggregate_id = u.id ORDER BY s.version DESC LIMIT 1))"
    " FROM unnest(CAST(:ids AS uuid[])) AS u(id)"
)
_RECORDED_SINCE = text(
    "SELECT aggregate_id, max(version) FROM events WHERE position > :after AND position <= :upto GROUP BY aggregate_id"
)
_SEEN = text("SELECT position, event_id, recorded_at FROM events WHERE position = ANY(:positions)")

MAX_CLOCK_AHEAD_MS = 5 * 60_000
"""How far a writer's clock may be ahead of the database's, in milliseconds.

Times of recording never step back (invariant 11). One writer whose clock is a day ahead would therefore hide every
delay for a day, and block queries as of an instant for as long.
"""

EMPTY = -1
"""The version of a stream without events."""


def latest_versions(connection: Connection, aggregates: Sequence[UUID]) -> dict[UUID, int]:
    """Returns the stored version of each aggregate. EMPTY if it has no event."""
    if not aggregates:
        return {}
    rows = connection.execute(_LATEST_VERSIONS, {"ids": [str(a) for a in aggregates]})
    return {row[0]: EMPTY if row[1] is None else row[1] for row in rows}


def versions_recorded_since(connection: Connection, after: int, upto: int) -> dict[UUID, int]:
    return {row[0]: row[1] for row in connection.execute(_RECORDED_SINCE, {"after": after, "upto": upto})}


def seen_at(connection: Connection, *positions: int) -> dict[int, LastSeenEvent]:
    """Returns the event at each position. A position without an event gives ``LastSeenEvent(position)``."""
    rows = connection.execute(_SEEN, {"positions": list(positions)})
    return {p: LastSeenEvent(p) for p in positions} | {
        row[0]: LastSeenEvent(row[0], row[1], epoch_ms(row[2])) for row in rows
    }


def conflicting(events: Sequence[LogEvent], versions: Mapping[UUID, int], plain: bool) -> set[UUID]:
    """Returns the aggregates whose events do not continue the stored version without a gap.

    A stream of this log starts with version 1. The library's own tests also start plain streams with 0.
    """
    opens = (0, 1) if plain else (1,)
    reached = dict(versions)
    conflicts: set[UUID] = set()
    for event in events:
        aggregate = event.originator_id
        assert isinstance(aggregate, UUID)
        current = reached[aggregate]
        version = event.originator_version
        if version != current + 1 if current != EMPTY else version not in opens:
            conflicts.add(aggregate)
        reached[aggregate] = version
    return conflicts


def integrity_error(conflicts: set[UUID]) -> IntegrityError:
    some = ", ".join(sorted(str(a) for a in conflicts)[:3])
    return IntegrityError(f"events do not continue the stored versions of {len(conflicts)} aggregate(s): {some}")


def pack(events: Sequence[LogEvent]) -> list[bytes]:
    """Packs the parts of the rows that need no lock, before it is taken."""
    return [static_part(event) for event in events]


def recorded_times(events: Sequence[LogEvent], head: LogHeadRow, now_ms: int) -> list[int]:
    """Returns when each of ``events`` is recorded, in epoch milliseconds: greatest(clock, previous time).

    An event that names its time keeps it. Raises OrderBroken if that time is before the previous one, or later than the
    clock: every later event would have to be recorded as late (invariant 11). Raises ClockAhead if an event takes its
    time from this clock, and the clock is too far ahead of the database's.
    """
    latest = max(now_ms, head.recorded_at_ms)
    ahead_ms = now_ms - head.database_ms
    if head.database_ms and ahead_ms > MAX_CLOCK_AHEAD_MS and not all(event.recorded_at_ms for event in events):
        raise ClockAhead(ahead_ms)
    if not any(event.recorded_at_ms for event in events):
        return [latest] * len(events)
    times: list[int] = []
    previous = head.recorded_at_ms
    for event in events:
        given = event.recorded_at_ms or latest
        if not previous <= given <= latest:
            raise OrderBroken(given, previous, latest, head.position)
        times.append(given)
        previous = given
    return times


def insert(
    connection: Connection, head: LogHeadRow, events: Sequence[LogEvent], packed: Sequence[bytes], clock: Clock
) -> range:
    """Numbers ``events`` after ``head`` and copies them in. Returns their positions. The caller holds the log's lock.

    Raises OrderBroken or ClockAhead before anything is written.
    """
    first = head.position + 1
    times = recorded_times(events, head, clock())
    # Times never step back, so equal ends mean one time for all (every live batch). Converting it once is measurable.
    moments = [micros(times[0])] * len(times) if times[0] == times[-1] else [micros(each) for each in times]
    rows = [HEADER]
    position = head.position
    seqs: list[int] = []
    stream = None
    for event, static, moment in zip(events, packed, moments, strict=True):
        if event.aggregate_type is not stream:
            stream = event.aggregate_type
            seqs = head.shards_of(stream)
        position += 1
        shard = shard_of(event.aggregate_key)
        seqs[shard] += 1
        rows.append(locked_part(position, seqs[shard], moment))
        rows.append(static)
    rows.append(TRAILER)
    head.position, head.recorded_at_ms = position, times[-1]
    cursor = connection.connection.cursor()
    try:
        with discarding_unusable(connection):
            cursor.copy_expert(COPY_SQL, BytesIO(b"".join(rows)))
    finally:
        cursor.close()
    write_head(connection, head)
    return range(first, position + 1)
