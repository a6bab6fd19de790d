"""The tailer and its watermark: an LSN is confirmed only when all before it is safe."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.cdc.events_table import Chunk
from infrastructure.cdc.heartbeat import PREFIX, Beat
from infrastructure.cdc.keeper import MarkKeeper
from infrastructure.cdc.outflow import WAITING_RECORDS, Outflow
from infrastructure.cdc.pgoutput import ProtocolError
from infrastructure.cdc.rows import converter
from infrastructure.cdc.stream import Batch
from infrastructure.cdc.tailer import Tailer
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


class ScriptedEvents:
    """The table: every event up to ``head``, ``chunk`` at a time; what it was asked for."""

    def __init__(self, head: int = 0, chunk: int = 2) -> None:
        self.head = head
        self.chunk = chunk
        self.asked: list[tuple[int, int]] = []

    def read(self, after: int, upto: int) -> Chunk | None:
        self.asked.append((after, upto))
        positions = range(after + 1, min(after + self.chunk, upto, self.head) + 1)
        convert = converter({"Rider": "gps-pings"}, 8)
        records = [convert(row(position=p)) for p in positions]
        return Chunk([r for r in records if r is not None], len(positions), positions[-1], 0) if positions else None


class AtOnce:
    """Keeps every mark at once."""

    def __init__(self) -> None:
        self.position: int | None = None

    def keep(self, position: int | None, lsn: int) -> int:
        self.position = position
        return lsn


def heartbeat(end_lsn: int, position: int, sender: str = "me", prefix: str = PREFIX) -> list[bytes]:
    content = json.dumps({"position": position, "sender": sender, "sent_ns": 5}).encode()
    head = b"M" + struct.pack(">BQ", 1, end_lsn - 8) + prefix.encode() + b"\0"
    return [begin(end_lsn), head + struct.pack(">I", len(content)) + content, commit(end_lsn)]


def transaction(end_lsn: int, positions: Sequence[int], shard: int = 9) -> list[bytes]:
    return [begin(end_lsn), *(insert(row(position=p, shard=shard)) for p in positions), commit(end_lsn)]


def a_tailer(
    stream: ScriptedStream,
    publisher: ScriptedPublisher,
    mark: int | None = None,
    events: ScriptedEvents | None = None,
    beats: list[Beat] | None = None,
) -> Tailer:
    out = Outflow(publisher, mark)
    on_beat = (beats if beats is not None else []).append
    return Tailer(stream, out, events or ScriptedEvents(), AtOnce(), {"Rider": "gps-pings"}, 8, on_beat)


def positions_of(publisher: ScriptedPublisher) -> list[int]:
    return [int(dict(record.headers)["position"]) for _, record in publisher.records]


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
    assert (tailer.out.progress.acknowledged, tailer.out.progress.position) == (3, 3)


def test_the_oldest_transaction_that_is_not_acknowledged_is_known_by_its_commit_time() -> None:
    later = [begin(200, 7_000_000), insert(row(position=2)), commit(200)]
    stream, publisher = ScriptedStream([relation(), *transaction(100, [1]), *later]), ScriptedPublisher()
    tailer = a_tailer(stream, publisher)
    assert tailer.out.waits_since_ms() is None
    tailer.step(0)
    first_ms = tailer.out.waits_since_ms()
    assert first_ms is not None
    publisher.acknowledge = [1]
    tailer.step(0)
    assert tailer.out.waits_since_ms() == first_ms + 7_000
    publisher.acknowledge = [2]
    tailer.step(0)
    assert tailer.out.waits_since_ms() is None


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
    assert tailer.out.in_flight() <= WAITING_RECORDS + 2_000
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


def test_regression_the_end_of_the_wal_is_not_confirmed_when_a_commit_comes_after_all_its_rows_were_taken() -> None:
    messages = [relation(), *transaction(100, [1])]
    stream, publisher = ScriptedStream(messages[:-1]), ScriptedPublisher()
    stream.wal_end = 12345
    tailer = a_tailer(stream, publisher)
    tailer.step(0)
    stream.messages = messages[-1:]
    tailer.step(0)
    tailer.step(0)
    assert stream.confirmed == [0, 0, 0]


def test_rows_of_a_stream_without_a_topic_hold_nothing_up() -> None:
    stream = ScriptedStream([relation(), begin(100), insert(row(stream="Unclassified")), commit(100)])
    publisher = ScriptedPublisher()
    tailer = a_tailer(stream, publisher)
    tailer.step(0)
    assert publisher.records == []
    assert publisher.sealed == [1]
    assert tailer.out.progress.skipped == 1


def test_a_row_before_its_relation_is_a_protocol_error() -> None:
    tailer = a_tailer(ScriptedStream([begin(100), insert(row())]), ScriptedPublisher())
    with pytest.raises(ProtocolError):
        tailer.step(0)


def run_dry(tailer: Tailer, publisher: ScriptedPublisher, steps: int = 12) -> None:
    """Step until nothing is left, with every sealed token acknowledged at once."""
    done = 0
    for _ in range(steps):
        tailer.step(0)
        publisher.acknowledge, done = publisher.sealed[done:], len(publisher.sealed)


def test_what_the_slot_did_not_bring_comes_from_the_table_in_its_place() -> None:
    stream = ScriptedStream([relation(), *transaction(100, [8, 9])])
    publisher, events = ScriptedPublisher(), ScriptedEvents(head=9)
    tailer = a_tailer(stream, publisher, mark=2, events=events)
    run_dry(tailer, publisher)
    assert positions_of(publisher) == [3, 4, 5, 6, 7, 8, 9]
    assert events.asked == [(2, 7), (4, 7), (6, 7)]
    assert (tailer.out.progress.position, tailer.out.progress.filled, stream.confirmed[-1]) == (9, 5, 100)


def test_a_gap_is_not_passed_before_it_is_acknowledged() -> None:
    stream = ScriptedStream([relation(), *transaction(100, [4])])
    publisher = ScriptedPublisher()
    tailer = a_tailer(stream, publisher, mark=1, events=ScriptedEvents(head=4))
    for _ in range(5):
        tailer.step(0)
    assert (positions_of(publisher), tailer.out.progress.position) == ([2, 3, 4], 1)
    publisher.acknowledge = publisher.sealed[1:]
    tailer.step(0)
    assert (tailer.out.progress.position, stream.confirmed[-1]) == (1, 0)
    publisher.acknowledge = publisher.sealed[:1]
    tailer.step(0)
    assert (tailer.out.progress.position, stream.confirmed[-1]) == (4, 100)


def test_what_was_passed_before_is_dropped_and_confirmed() -> None:
    stream = ScriptedStream([relation(), *transaction(100, [1, 2]), *transaction(200, [3, 4])])
    publisher = ScriptedPublisher()
    tailer = a_tailer(stream, publisher, mark=3)
    run_dry(tailer, publisher)
    assert (positions_of(publisher), tailer.out.progress.repeated, stream.confirmed[-1]) == ([4], 3, 200)


def test_a_heartbeat_is_not_published_moves_the_slot_and_is_told_when_all_before_it_is_acknowledged() -> None:
    beats: list[Beat] = []
    stream = ScriptedStream([relation(), *transaction(100, [1]), *heartbeat(200, 1)])
    publisher = ScriptedPublisher()
    tailer = a_tailer(stream, publisher, mark=0, beats=beats)
    tailer.step(0)
    publisher.acknowledge = [2]
    tailer.step(0)
    assert (beats, stream.confirmed[-1]) == ([], 0)
    publisher.acknowledge = [1]
    tailer.step(0)
    assert (beats, stream.confirmed[-1], positions_of(publisher)) == ([Beat(1, "me", 5)], 200, [1])


def test_a_heartbeat_shows_what_the_slot_did_not_bring_although_nothing_is_recorded_any_more() -> None:
    stream, publisher = ScriptedStream(heartbeat(100, 5)), ScriptedPublisher()
    tailer = a_tailer(stream, publisher, mark=2, events=ScriptedEvents(head=5))
    run_dry(tailer, publisher)
    assert (positions_of(publisher), tailer.out.progress.position, stream.confirmed[-1]) == ([3, 4, 5], 5, 100)


def test_messages_of_others_are_passed_over() -> None:
    stream, publisher = ScriptedStream(heartbeat(100, 5, prefix="theirs")), ScriptedPublisher()
    tailer = a_tailer(stream, publisher, mark=2)
    run_dry(tailer, publisher)
    assert (positions_of(publisher), tailer.out.progress.position, stream.confirmed[-1]) == ([], 2, 100)


def test_without_a_mark_the_first_event_or_heartbeat_of_a_slot_that_was_always_read_gives_it() -> None:
    publisher = ScriptedPublisher()
    tailer = a_tailer(ScriptedStream([relation(), *transaction(100, [7])]), publisher)
    run_dry(tailer, publisher)
    assert (positions_of(publisher), tailer.out.progress.position) == ([7], 7)
    publisher = ScriptedPublisher()
    tailer = a_tailer(ScriptedStream([begin(50), commit(50), *heartbeat(100, 5)]), publisher)
    run_dry(tailer, publisher)
    assert tailer.out.progress.position == 5


def test_events_that_the_table_does_not_have_any_more_are_told_and_hold_nothing_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream, publisher = ScriptedStream([relation(), *transaction(100, [9])]), ScriptedPublisher()
    tailer = a_tailer(stream, publisher, mark=0, events=ScriptedEvents(head=0))
    run_dry(tailer, publisher)
    assert positions_of(publisher) == [9]
    assert "of positions 1 to 8 only 0 are in the table" in caplog.text


def test_the_mark_is_stored_before_the_slot_is_told_and_once_a_second() -> None:
    now = 100.0
    saved: list[tuple[int, int]] = []
    keeper = MarkKeeper(lambda position, lsn: saved.append((position, lsn)), clock=lambda: now)
    assert keeper.keep(None, 50) == 0
    assert keeper.keep(3, 50) == 50
    assert keeper.keep(4, 60) == 50
    now = 101.0
    assert keeper.keep(4, 60) == 60
    now = 102.0
    assert keeper.keep(4, 60) == 60
    assert saved == [(3, 50), (4, 60)]
