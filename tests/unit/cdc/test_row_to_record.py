"""A row of ``events`` becomes the same record, whether it is read from the WAL or from the table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.cdc.pgoutput import ProtocolError, Relation
from infrastructure.cdc.row_to_record import COLUMNS, RowReader, converter, row_reader
from tests.unit.cdc.test_pgoutput import insert, row

TOPICS = {"Rider": "gps-pings", "Größe": "sizes"}
PARTITIONS = 8
# Any Postgres text (which has no NUL), and text that looks like the markers between columns.
TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=300).map(str.encode)
TRICKY = st.text("t\\xn\x01\x02", max_size=6).map(str.encode) | st.just(b"t" * 0x74) | st.just(b"t" * 0x7400)
NUMBER = st.integers(1, 2**63 - 1).map(lambda number: str(number).encode())
PAYLOAD = st.binary(max_size=200) | st.sampled_from([(0x74 - 2) // 2, (0x7400 - 2) // 2, 0x8000, 0x9000]).map(bytes)


def a_reader() -> RowReader:
    return row_reader(Relation(42, "events", COLUMNS, "public"), TOPICS, PARTITIONS)


def test_a_row_becomes_its_record() -> None:
    position, record = a_reader()(insert(row(position=17, shard=9, payload=b"\x00payload")))
    assert position == 17
    assert record is not None
    assert (record.topic, record.partition, record.key, record.value) == ("gps-pings", 1, b"anna", b"\x00payload")
    assert dict(record.headers) == {
        "id": b"0b7e9d1c",
        "eventType": b"GpsPing",
        "version": b"3",
        "position": b"17",
        "seq": b"17",
    }


@given(
    stream=st.sampled_from(list(TOPICS)).map(str.encode) | TEXT,
    numbers=st.tuples(NUMBER, NUMBER, NUMBER, NUMBER),
    key=TEXT | TRICKY,
    event_type=TEXT | TRICKY,
    event_id=TEXT | TRICKY,
    payload=PAYLOAD,
)
def test_any_row_is_the_same_record_from_the_wal_as_from_the_table(
    stream: bytes,
    numbers: tuple[bytes, bytes, bytes, bytes],
    key: bytes,
    event_type: bytes,
    event_id: bytes,
    payload: bytes,
) -> None:
    position, shard, seq, version = numbers
    hexed = b"\\x" + payload.hex().encode()
    values = [position, stream, shard, seq, version, key, event_type, event_id, hexed]
    assert a_reader()(insert(list(values))) == (int(position), converter(TOPICS, PARTITIONS)(values))


def test_a_length_that_looks_like_a_marker_is_not_one() -> None:
    """A value of 0x740000 bytes: its length bytes are t, NUL, NUL."""
    values = row()
    values[COLUMNS.index("aggregate_key")] = b"k" * 0x740000
    position, record = a_reader()(insert(values))
    assert record == converter(TOPICS, PARTITIONS)(values)
    assert position == 1


def test_a_stream_without_a_topic_gives_no_record() -> None:
    assert a_reader()(insert(row(position=5, stream="Unclassified"))) == (5, None)


def test_an_incomplete_row_is_rejected() -> None:
    message = insert(row())
    for length in range(len(message)):
        with pytest.raises(ProtocolError):
            a_reader()(message[:length])


def test_a_row_without_its_key_is_rejected() -> None:
    values = row()
    values[COLUMNS.index("aggregate_key")] = None
    with pytest.raises(ProtocolError, match="without shard, key or payload"):
        a_reader()(insert(values))


@pytest.mark.parametrize(
    ("column", "header"),
    [("event_id", "id"), ("event_type", "eventType"), ("version", "version"), ("position", "position"), ("seq", "seq")],
)
def test_a_column_without_a_value_is_an_empty_header(column: str, header: str) -> None:
    values = row()
    values[COLUMNS.index(column)] = None
    record = converter(TOPICS, PARTITIONS)(values)
    assert record is not None
    complete = converter(TOPICS, PARTITIONS)(row())
    assert complete is not None
    assert dict(record.headers) == dict(complete.headers) | {header: b""}


def test_a_publication_with_other_columns_is_rejected() -> None:
    with pytest.raises(ProtocolError, match="sends"):
        row_reader(Relation(42, "events", COLUMNS[:-1], "public"), {}, PARTITIONS)
