"""The tailer and its watermark: an LSN is confirmed only when all before it is safe."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.cdc.pgoutput import ProtocolError
from infrastructure.cdc.stream import Batch
from infrastructure.cdc.tailer import WAITING_RECORDS, Tailer
from infrastructure.cdc.watermark import Watermark
from infrastructure.kafka.port import OutRecord
from tests.unit.test_pgoutput import begin, commit, insert, relation, row


class ScriptedStream:
    """Gives the messages that a test puts in; remembers what was confirmed."""

    def __init__(self, messages: Sequence[bytes] = ()) -> None:
        self.messages = list(messages)
        self.wal_end = 0
        self.confirmed: list[int] = []
        self.waits = 0
        self.reads = 0

    def read(self, limit: int) -> Batch:
        self.reads += 1
        batch, self.messages = self.messages[:limit], self.messages[limit:]
        return Batch(batch, self.wal_end, drained=not self.messages)

    def wait(self, timeout_s: float) -> None:
        self.waits += 1

    def confirm(self, lsn: int) -> None:
        self.confirmed.append(lsn)


class ScriptedPublisher:
    """Takes at most ``room`` records in all, acknowledges when told to."""

    def __init__(self, room: int = 10**9) -> None:
        self.room = room
        self.records: list[tuple[int, OutRecord]] = []
        self.sealed: list[int] = []
        self.acknowledge: list[int] = []

    def publish(self, token: int, records: Sequence[OutRecord]) -> int:
        taken = records[: self.room]
        self.room -= len(taken)
        self.records += [(token, record) for record in taken]
        return len(taken)

    def seal(self, token: int) -> None:
        self.sealed.append(token)

    def acknowledged(self, timeout_s: float) -> list[int]:
        done, self.acknowledge = self.acknowledge, []
        return done

    def in_flight(self) -> int:
        return len(self.records)

    def close(self, timeout_s: float = 5.0) -> int:
        return 0


def transaction(end_lsn: int, positions: Sequence[int]) -> list[bytes]:
    return [begin(end_lsn), *(insert(row(position=p)) for p in positions), commit(end_lsn)]


def a_tailer(stream: ScriptedStream, publisher: ScriptedPublisher) -> Tailer:
    return Tailer(stream, publisher, {"Rider": "gps-pings"}, 8)


@given(st.permutations(range(1, 9)))
def test_invariant_2_the_watermark_never_passes_an_unacknowledged_transaction(order: list[int]) -> None:
    watermark = Watermark()
    for token in range(1, 9):
        watermark.committed(token, token * 100)
    done: set[int] = set()
    for token in order:
        watermark.acknowledged(token)
        done.add(token)
        safe = next((t - 1 for t in range(1, 9) if t not in done), 8)
        assert watermark.confirmed == safe * 100


def test_the_watermark_of_an_idle_slot_advances() -> None:
    watermark = Watermark()
    watermark.idle(500)
    assert watermark.confirmed == 500
    watermark.committed(1, 600)
    watermark.idle(700)
    assert watermark.confirmed == 500
    watermark.acknowledged(1)
    watermark.idle(700)
    assert watermark.confirmed == 700


def test_an_acknowledgement_may_come_before_the_commit_is_read() -> None:
    watermark = Watermark()
    watermark.acknowledged(1)
    watermark.committed(1, 100)
    assert watermark.confirmed == 100


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
    assert (tailer.progress.acknowledged, tailer.progress.position) == (3, 3)


def test_the_oldest_transaction_that_is_not_acknowledged_is_known_by_its_commit_time() -> None:
    later = [begin(200, 7_000_000), insert(row(position=2)), commit(200)]
    stream, publisher = ScriptedStream([relation(), *transaction(100, [1]), *later]), ScriptedPublisher()
    tailer = a_tailer(stream, publisher)
    assert tailer.waits_since_ms() is None
    tailer.step(0)
    first_ms = tailer.waits_since_ms()
    assert first_ms is not None
    publisher.acknowledge = [1]
    tailer.step(0)
    assert tailer.waits_since_ms() == first_ms + 7_000
    publisher.acknowledge = [2]
    tailer.step(0)
    assert tailer.waits_since_ms() is None


def test_a_transaction_is_sealed_only_when_its_commit_was_read_and_all_its_rows_were_taken() -> None:
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
    stream.messages += [insert(row(position=p)) for p in range(1, 3 * WAITING_RECORDS)]
    publisher = ScriptedPublisher(room=0)
    tailer = a_tailer(stream, publisher)
    for _ in range(60):
        tailer.step(0)
    reads = stream.reads
    assert tailer.in_flight() <= WAITING_RECORDS + 2_000
    for _ in range(5):
        tailer.step(0)
    assert stream.reads == reads
    assert len(stream.confirmed) == 65


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


def test_rows_of_a_stream_without_a_topic_hold_nothing_up() -> None:
    stream = ScriptedStream([relation(), begin(100), insert(row(stream="Unclassified")), commit(100)])
    publisher = ScriptedPublisher()
    tailer = a_tailer(stream, publisher)
    tailer.step(0)
    assert publisher.records == []
    assert publisher.sealed == [1]
    assert tailer.progress.skipped == 1


def test_a_row_before_its_relation_is_a_protocol_error() -> None:
    tailer = a_tailer(ScriptedStream([begin(100), insert(row())]), ScriptedPublisher())
    with pytest.raises(ProtocolError):
        tailer.step(0)
