"""Rows of ``events`` in Postgres' binary COPY format.

What does not depend on the lock is packed before it is taken (``static_part``); inside the lock a row costs one more
pack. Format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

from __future__ import annotations

import struct
from functools import lru_cache
from uuid import UUID

from domain.identifiers import shard_of
from infrastructure.event_store.stored import LogEvent

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)

COPY_SQL = (
    "COPY events (position, seq, recorded_at, stream, shard, aggregate_id, aggregate_type, aggregate_key,"
    " version, event_id, event_time, event_type, payload) FROM STDIN (FORMAT binary, ENCODING 'UTF8')"
)
_FIELDS = 13

POSTGRES_EPOCH_MS = 946_684_800_000
"""2000-01-01, the zero of Postgres' timestamptz."""

_LOCKED = struct.Struct(">hiqiqiq")
_EVENT = struct.Struct(">iqi16siq")
_LENGTH = struct.Struct(">i")


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
    """All columns of a row but position, seq and recorded_at."""
    aggregate = event.originator_id
    assert isinstance(aggregate, UUID)
    return b"".join(
        (
            _aggregate_part(event.stream, aggregate, event.aggregate_type, event.aggregate_key),
            _EVENT.pack(8, event.originator_version, 16, event.event_id.bytes, 8, micros(event.event_time_ms)),
            _type_part(event.topic),
            _LENGTH.pack(len(event.state)),
            event.state,
        )
    )


def locked_part(position: int, seq: int, recorded_at_micros: int) -> bytes:
    """The head of a row: what only the holder of the log's lock can know."""
    return _LOCKED.pack(_FIELDS, 8, position, 8, seq, 8, recorded_at_micros)
