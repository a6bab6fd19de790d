"""Parser of Postgres' pgoutput protocol, version 1: the part that an insert-only publication uses. Pure.

Format: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
"""

from __future__ import annotations

import struct
from typing import NamedTuple

POSTGRES_EPOCH_MS = 946_684_800_000

INSERT = b"I"
"""The first byte of a row's message."""
_BEGIN = struct.Struct(">xQqI")
_COMMIT = struct.Struct(">xBQQq")
_UINT32 = struct.Struct(">I")
_INSERT = struct.Struct(">cIcH")
_SIZED = frozenset(b"tb")


class ProtocolError(Exception):
    """Bytes that are not a pgoutput version 1 message, or one that an insert-only publication never sends."""


class Begin(NamedTuple):
    """``final_lsn``: LSN of the transaction's commit record. ``commit_ms``: its time, epoch milliseconds."""

    final_lsn: int
    commit_ms: int


class Commit(NamedTuple):
    """``end_lsn``: the first byte after the commit; it may be confirmed once all rows are acknowledged."""

    end_lsn: int


class Relation(NamedTuple):
    relation_id: int
    table: str
    columns: tuple[str, ...]
    schema: str


class Insert(NamedTuple):
    """Column values as received: text, or binary under ``binary 'true'``; None for NULL."""

    relation_id: int
    values: list[bytes | None]


class LogicalMessage(NamedTuple):
    """A message of pg_logical_emit_message, sent under ``messages 'true'``. Any role of the database can write one."""

    transactional: bool
    prefix: str
    content: bytes


class Change(NamedTuple):
    """An update, delete or truncate: sent while the publication publishes more than inserts. ``kind``: its name."""

    kind: str


Message = Begin | Commit | Relation | Insert | LogicalMessage | Change | None
_CHANGES = {0x55: "update", 0x44: "delete", 0x54: "truncate"}


def parse(data: bytes) -> Message:
    """Parse one message. Returns None for kinds that the relay does not use (origin, type).

    Raises ProtocolError.
    """
    try:
        return _parse(data)
    except (struct.error, IndexError, ValueError) as error:
        raise ProtocolError(f"incomplete pgoutput message of {len(data)} bytes: {error}") from error


def _parse(data: bytes) -> Message:
    kind = data[0]
    if kind == 0x49:  # I
        return _insert(data)
    if kind == 0x42:  # B
        final_lsn, commit_micros, _xid = _BEGIN.unpack_from(data)
        return Begin(final_lsn, POSTGRES_EPOCH_MS + commit_micros // 1000)
    if kind == 0x43:  # C
        _flags, _lsn, end_lsn, _commit_micros = _COMMIT.unpack_from(data)
        return Commit(end_lsn)
    if kind == 0x52:  # R
        return _relation(data)
    if kind == 0x4D:  # M
        return _logical_message(data)
    if kind in b"OY":
        return None
    if kind in _CHANGES:
        return Change(_CHANGES[kind])
    raise ProtocolError(f"unexpected pgoutput message {data[:1]!r}: not part of protocol version 1")


def insert_head(relation_id: int, columns: int) -> bytes:
    """The bytes that every row message of that relation starts with."""
    return _INSERT.pack(INSERT, relation_id, b"N", columns)


def _insert(data: bytes) -> Insert:
    """Values are slices of the message."""
    _kind, relation_id, marker, count = _INSERT.unpack_from(data)
    if marker != b"N":
        raise ProtocolError(f"an insert without a new tuple: {marker!r}")
    values: list[bytes | None] = []
    at = 8
    length_at = _UINT32.unpack_from
    for _ in range(count):
        kind = data[at]
        if kind in _SIZED:
            end = at + 5 + length_at(data, at + 1)[0]
            values.append(data[at + 5 : end])
            at = end
        elif kind == 0x6E:  # n
            values.append(None)
            at += 1
        else:
            raise ProtocolError(f"unexpected kind of column {kind:#x} in an insert")
    if at != len(data):
        raise ProtocolError(f"a row ends at byte {at} of {len(data)}")
    return Insert(relation_id, values)


def _relation(data: bytes) -> Relation:
    (relation_id,) = _UINT32.unpack_from(data, 1)
    schema, at = _text(data, 5)
    table, at = _text(data, at)
    at += 1  # replica identity
    count = int.from_bytes(data[at : at + 2], "big")
    at += 2
    columns = []
    for _ in range(count):
        name, at = _text(data, at + 1)
        columns.append(name)
        at += 8  # type oid and modifier
    if at != len(data):
        raise ProtocolError(f"a relation ends at byte {at} of {len(data)}")
    return Relation(relation_id, table, tuple(columns), schema)


def _logical_message(data: bytes) -> LogicalMessage:
    end = data.index(b"\0", 10)  # after the flags and the LSN
    # Any role can choose the prefix: bytes that are not UTF-8 must not end the tailer.
    prefix, at = data[10:end].decode(errors="replace"), end + 1
    (length,) = _UINT32.unpack_from(data, at)
    if at + 4 + length != len(data):
        raise ProtocolError(f"a logical message ends at byte {at + 4 + length} of {len(data)}")
    return LogicalMessage(bool(data[1] & 1), prefix, data[at + 4 :])


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode(), end + 1
