"""The pgoutput parser on complete, incomplete and foreign messages."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.cdc.pgoutput import Begin, Change, Commit, Insert, LogicalMessage, ProtocolError, Relation, parse
from infrastructure.cdc.row_to_record import COLUMNS


def begin(lsn: int, micros: int = 0) -> bytes:
    return b"B" + struct.pack(">QqI", lsn, micros, 7)


def commit(end_lsn: int) -> bytes:
    return b"C" + struct.pack(">BQQq", 0, end_lsn - 8, end_lsn, 0)


def relation(columns: tuple[str, ...] = COLUMNS, relation_id: int = 42, name: bytes = b"public\0events") -> bytes:
    body = b"".join(b"\0" + name.encode() + b"\0" + struct.pack(">Ii", 25, -1) for name in columns)
    return b"R" + struct.pack(">I", relation_id) + name + b"\0n" + struct.pack(">H", len(columns)) + body


def insert(values: list[bytes | None], relation_id: int = 42) -> bytes:
    cells = b"".join(b"n" if v is None else b"t" + struct.pack(">I", len(v)) + v for v in values)
    return b"I" + struct.pack(">IcH", relation_id, b"N", len(values)) + cells


def row(position: int = 1, shard: int = 9, payload: bytes = b"\x00\xff", stream: str = "Rider") -> list[bytes | None]:
    text = [str(position), stream, str(shard), str(position), "3", "anna", "GpsPing", "0b7e9d1c"]
    return [*(value.encode() for value in text), b"\\x" + payload.hex().encode()]


def test_begin_commit_and_relation() -> None:
    assert parse(begin(0x16B3748, 1_000_000)) == Begin(0x16B3748, 946_684_801_000)
    assert parse(commit(0x16B3800)) == Commit(0x16B3800)
    assert parse(relation()) == Relation(42, "events", COLUMNS, "public")


def test_insert_with_null_text_and_binary_values() -> None:
    message = insert([b"a", None, b""])
    assert parse(message) == Insert(42, [b"a", None, b""])
    assert parse(message.replace(b"t\0\0\0\x01a", b"b\0\0\0\x01a")) == Insert(42, [b"a", None, b""])


@given(st.lists(st.none() | st.binary(max_size=300), max_size=20))
def test_any_row_round_trips(values: list[bytes | None]) -> None:
    assert parse(insert(values)) == Insert(42, values)


def test_a_logical_message() -> None:
    data = b"M" + struct.pack(">BQ", 1, 77) + b"ours\0" + struct.pack(">I", 3) + b"abc"
    assert parse(data) == LogicalMessage(True, "ours", b"abc")
    assert parse(data[:1] + b"\0" + data[2:]) == LogicalMessage(False, "ours", b"abc")
    for broken in (data[:-1], data + b"x", data[:12]):
        with pytest.raises(ProtocolError):
            parse(broken)


@pytest.mark.parametrize("kind", [b"O", b"Y"])
def test_messages_without_rows_are_skipped(kind: bytes) -> None:
    assert parse(kind + b"whatever") is None


def test_the_prefix_of_a_logical_message_may_be_any_bytes() -> None:
    data = b"M" + struct.pack(">BQ", 1, 77) + b"\xff\xe4\0" + struct.pack(">I", 0)
    assert parse(data) == LogicalMessage(True, "\ufffd\ufffd", b"")


@pytest.mark.parametrize(("kind", "name"), [(b"U", "update"), (b"D", "delete"), (b"T", "truncate")])
def test_changes_other_than_inserts_are_named(kind: bytes, name: str) -> None:
    assert parse(kind + b"\0" * 20) == Change(name)


@pytest.mark.parametrize("kind", [b"S", b"E", b"c", b"A", b"b", b"P", b"x"])
def test_messages_that_protocol_version_1_never_sends_are_rejected(kind: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(kind + b"\0" * 20)


@pytest.mark.parametrize("message", [begin(1), commit(9), relation(), insert(row())])
def test_an_incomplete_message_is_rejected(message: bytes) -> None:
    for length in range(len(message)):
        with pytest.raises(ProtocolError):
            parse(message[:length])


@given(st.binary(max_size=80))
def test_random_bytes_raise_only_a_protocol_error(data: bytes) -> None:
    try:
        parse(data)
    except ProtocolError:
        return
