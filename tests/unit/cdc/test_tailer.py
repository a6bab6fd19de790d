"""The tailer publishes rows in order, and confirms to the slot only what Kafka has acknowledged."""

from __future__ import annotations

import pytest

from infrastructure.cdc.in_flight import MAX_WAITING_RECORDS
from infrastructure.cdc.pgoutput import ProtocolError
from infrastructure.cdc.tailer import ACKNOWLEDGEMENT_POLL_INTERVAL_S
from tests.unit.cdc.scripted_tailer import (
    ScriptedPublisher,
    ScriptedStream,
    a_tailer,
    transaction,
)
from tests.unit.cdc.test_pgoutput import begin, commit, insert, relation, row


def test_rows_are_published_in_order_and_confirmed_when_acknowledged() -> None:
    stream = ScriptedStream([relation(), *transaction(100, [1, 2]), *transaction(200, [3])])
    publisher = ScriptedPublisher()
    tailer = a_tailer(stream, publisher)
    assert tailer.step(0) == 3
    assert [dict(record.headers)["position"] for _, record in publisher.records] == [b"1", b"2", b"3"]
    assert publisher.sealed == [1, 2]
    assert stream.confirmed == [0]
    publisher.acknowledge = [2]
    tailer.step(0)
    assert stream.confirmed[-1] == 0
    publisher.acknowledge = [1]
    tailer.step(0)
    assert stream.confirmed[-1] == 200
    assert (tailer.transactions.progress.acknowledged, tailer.transactions.progress.position) == (3, 3)


def test_the_oldest_transaction_that_is_not_acknowledged_is_known_by_its_commit_time() -> None:
    later = [begin(200, 7_000_000), insert(row(position=2)), commit(200)]
    stream, publisher = ScriptedStream([relation(), *transaction(100, [1]), *later]), ScriptedPublisher()
    tailer = a_tailer(stream, publisher)
    assert tailer.transactions.oldest_commit_ms() is None
    tailer.step(0)
    first_ms = tailer.transactions.oldest_commit_ms()
    assert first_ms is not None
    publisher.acknowledge = [1]
    tailer.step(0)
    assert tailer.transactions.oldest_commit_ms() == first_ms + 7_000
    publisher.acknowledge = [2]
    tailer.step(0)
    assert tailer.transactions.oldest_commit_ms() is None


def test_a_transaction_is_sealed_only_when_its_commit_was_read_and_all_its_rows_were_accepted() -> None:
    messages = [relation(), *transaction(100, [1, 2, 3])]
    stream, publisher = ScriptedStream(messages[:3]), ScriptedPublisher(room=1)
    tailer = a_tailer(stream, publisher)
    tailer.step(0)
    assert publisher.sealed == []
    stream.messages = messages[3:]
    tailer.step(0)
    assert publisher.sealed == []
    publisher.room = 100
    tailer.step(0)
    assert publisher.sealed == [1]
    assert [dict(r.headers)["position"] for _, r in publisher.records] == [b"1", b"2", b"3"]


def test_a_slow_kafka_stops_the_reading_but_not_the_keepalives() -> None:
    stream = ScriptedStream([relation(), begin(100)])
    stream.messages += [insert(row(position=p)) for p in range(1, 3 * MAX_WAITING_RECORDS)]
    publisher = ScriptedPublisher(room=0)
    tailer = a_tailer(stream, publisher)
    for _ in range(60):
        tailer.step(0)
    reads = stream.reads
    assert tailer.transactions.unacknowledged_records() <= MAX_WAITING_RECORDS + 2_000
    for _ in range(5):
        tailer.step(0)
    assert stream.reads == reads
    assert len(stream.confirmed) == 65


def test_regression_a_tailer_without_capacity_waits_for_kafka_and_not_for_the_readable_socket() -> None:
    stream = ScriptedStream([relation(), begin(100)])
    stream.messages += [insert(row(position=p)) for p in range(1, 3 * MAX_WAITING_RECORDS)]
    publisher = ScriptedPublisher(room=0)
    tailer = a_tailer(stream, publisher)
    while tailer.transactions.has_capacity():
        tailer.step(0)
    waits, publisher.waited_s = stream.waits, []
    for _ in range(5):
        tailer.step(10)
    assert stream.waits == waits
    assert publisher.waited_s == [ACKNOWLEDGEMENT_POLL_INTERVAL_S] * 5


def test_an_idle_stream_confirms_the_end_of_the_wal() -> None:
    stream = ScriptedStream()
    stream.wal_end = 12345
    tailer = a_tailer(stream, ScriptedPublisher())
    tailer.step(0)
    assert stream.confirmed == [12345]
    assert stream.waits == 1


def test_the_end_of_the_wal_is_not_confirmed_in_the_middle_of_a_transaction() -> None:
    stream = ScriptedStream([relation(), begin(100), insert(row())])
    stream.wal_end = 12345
    tailer = a_tailer(stream, ScriptedPublisher())
    tailer.step(0)
    assert stream.confirmed == [0]


def test_regression_the_end_of_the_wal_is_not_confirmed_when_a_commit_comes_after_all_its_rows_were_accepted() -> None:
    messages = [relation(), *transaction(100, [1])]
    stream, publisher = ScriptedStream(messages[:-1]), ScriptedPublisher()
    stream.wal_end = 12345
    tailer = a_tailer(stream, publisher)
    tailer.step(0)
    stream.messages = messages[-1:]
    tailer.step(0)
    tailer.step(0)
    assert stream.confirmed == [0, 0, 0]


def test_rows_of_a_stream_without_a_topic_do_not_block_the_rest() -> None:
    stream = ScriptedStream([relation(), begin(100), insert(row(stream="Unclassified")), commit(100)])
    publisher = ScriptedPublisher()
    tailer = a_tailer(stream, publisher)
    tailer.step(0)
    assert publisher.records == []
    assert publisher.sealed == [1]
    assert tailer.transactions.progress.skipped == 1


def test_every_row_without_a_topic_is_counted() -> None:
    rows = [insert(row(position=position, stream="Unclassified")) for position in (1, 2, 3)]
    stream = ScriptedStream([relation(), begin(100), *rows, commit(100)])
    tailer = a_tailer(stream, ScriptedPublisher())
    tailer.step(0)
    assert tailer.transactions.progress.skipped == 3


def test_a_row_before_its_relation_is_a_protocol_error() -> None:
    tailer = a_tailer(ScriptedStream([begin(100), insert(row())]), ScriptedPublisher())
    with pytest.raises(ProtocolError, match="relation 42 before"):
        tailer.step(0)
