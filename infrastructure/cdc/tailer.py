"""The CDC tailer: WAL in, Kafka out, and no LSN confirmed before its records are safe (invariant 2).

What the WAL does not bring, since the slot is not the one that was left, comes from the table, in its place: the
topic holds every position, in order, whatever becomes of the slot.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from infrastructure.cdc.gap_fill import EventSource, log_missing, publish_range
from infrastructure.cdc.heartbeat import Heartbeat
from infrastructure.cdc.in_flight import InFlightTransactions
from infrastructure.cdc.pgoutput import INSERT, Begin, Change, Commit, LogicalMessage, ProtocolError, Relation, parse
from infrastructure.cdc.relay_checkpoint import CheckpointSaver
from infrastructure.cdc.replication_stream import WalBatch
from infrastructure.cdc.row_to_record import RowReader
from infrastructure.cdc.wal_filter import ForeignRelation, WalFilter
from infrastructure.kafka.ports import ProducerRecord


class PositionVerdict(Enum):
    """NEXT: publish it. REPEATED: drop it, it was passed. GAP: publish what lies before it first, from the table."""

    NEXT = "next"
    REPEATED = "repeated"
    GAP = "gap"


NEXT, REPEATED, GAP = PositionVerdict


def classify_position(last: int | None, position: int) -> PositionVerdict:
    """Of the event at ``position`` when all up to ``last`` is passed; None: whatever comes first is the next one."""
    if last is None or position == last + 1:
        return NEXT
    return REPEATED if position <= last else GAP


def has_gap(last: int | None, head: int) -> bool:
    """Whether something up to ``head`` has not been passed, though the WAL has been read beyond its commit."""
    return last is not None and head > last


log = logging.getLogger("ridelog.tailer")

READ_MESSAGES = 2_000
ACKNOWLEDGED_WITHIN_S = 0.005
"""Kafka is looked at again after this long while something waits for it."""


class WalStream(Protocol):
    """What the tailer needs of a replication connection."""

    def read(self, limit: int) -> WalBatch: ...

    def wait(self, timeout_s: float) -> None: ...

    def confirm(self, lsn: int) -> None: ...


class Tailer:
    """Drive it with ``step``. Any exception means: throw it away and start again from the mark."""

    def __init__(
        self,
        stream: WalStream,
        out: InFlightTransactions,
        events: EventSource,
        checkpoint_saver: CheckpointSaver,
        wal: WalFilter,
        on_beat: Callable[[Heartbeat], None] = lambda beat: None,
    ) -> None:
        """``on_beat`` is called for each heartbeat once everything recorded before it is acknowledged."""
        self._stream = stream
        self.out = out
        self._events = events
        self._checkpoint_saver = checkpoint_saver
        self._wal = wal
        self._on_beat = on_beat
        self._readers: dict[bytes, RowReader] = {}
        """By the id of the relation as it stands in the message of a row."""
        self._foreign: dict[bytes, ForeignRelation] = {}
        """The relations whose rows are passed over."""
        self._begin: Begin | None = None
        self._last = out.progress.position
        """All up to here is acknowledged, or handed to ``out`` in this life."""
        self._gap_upto = 0
        self._held: list[bytes] = []
        """Messages that wait until what lies before them is passed on from the table."""
        self._beat: Heartbeat | None = None
        self._beats: deque[tuple[int, Heartbeat]] = deque()

    def step(self, timeout_s: float) -> int:
        """Read, publish, collect acknowledgements, confirm; the number of events read.

        Raises ProtocolError, PublishError, StreamLost, ForeignLog or SQLAlchemyError.
        """
        rows = 0
        moved = self.out.publish()
        if self.out.has_room():
            rows = self._fill() if has_gap(self._last, self._gap_upto) else self._read()
            moved = self.out.publish() or moved
        # Without room nothing is read, so the socket stays readable, and to wait for it would burn a core while Kafka
        # is away: what is waited for is Kafka's.
        self.out.collect(0.0 if moved or self.out.has_room() else ACKNOWLEDGED_WITHIN_S)
        while self._beats and self._beats[0][0] <= self.out.passed:
            self._on_beat(self._beats.popleft()[1])
        # Stored before it is confirmed: what the slot has passed is never above the mark.
        self._stream.confirm(self._checkpoint_saver.save_if_due(self.out.progress.position, self.out.confirmed))
        if not rows and not moved and not self._held and self.out.has_room():
            # Acknowledgements do not wake the socket: look for them often while any is due.
            self._stream.wait(min(timeout_s, ACKNOWLEDGED_WITHIN_S) if self.out.unreported() else timeout_s)
        return rows

    def _fill(self) -> int:
        """The next events that the WAL did not bring. Their commits lie before what was read, so they are visible."""
        assert self._last is not None
        before = self._last
        self._last = publish_range(self._events, self.out, before, self._gap_upto)
        if self._last == before:
            log_missing(before + 1, self._gap_upto)
            self._last = self._gap_upto
        self.out.progress.filled += self._last - before
        return self._last - before

    def _read(self) -> int:
        if self._held:
            held, self._held = self._held, []
            return self._take(held)
        batch = self._stream.read(READ_MESSAGES)
        rows = self._take(batch.messages)
        if batch.drained and self._begin is None and not self._held:
            self.out.idle(batch.wal_end)
        return rows

    def _take(self, messages: list[bytes]) -> int:
        rows = passed = 0
        records: list[ProducerRecord] = []
        for at, data in enumerate(messages):
            if data[:1] == INSERT:
                rows += 1
                read = self._readers.get(data[1:5])
                if read is None or self._begin is None:
                    if (foreign := self._foreign.get(data[1:5])) is not None:
                        self._wal.pass_over(*foreign)
                        rows -= 1
                        continue
                    number = int.from_bytes(data[1:5], "big")
                    raise ProtocolError(f"a row of relation {number} before its description or its Begin")
                position, record = read(data)
                verdict = classify_position(self._last, position)
                if verdict is NEXT:
                    if not self.out.is_open:
                        self.out.open(self._begin.commit_ms)
                    self._last = position
                    passed += 1
                    if record is not None:
                        records.append(record)
                    else:
                        self.out.progress.skipped += 1
                elif verdict is REPEATED:
                    self.out.progress.repeated += 1
                elif position > self._events.head_position():
                    self._wal.pass_over("row", f"a row of events at position {position}, which is beyond the head")
                else:
                    return self._hold(messages[at:], position - 1, rows - 1)
                continue
            message = parse(data)
            if isinstance(message, Begin):
                self._begin = message
            elif isinstance(message, Commit):
                self._pass(records, passed)
                records, passed = [], 0
                self._commit(message)
            elif isinstance(message, Relation):
                self._describe(message)
            elif isinstance(message, LogicalMessage):
                beat = self._wal.beat(message)
                if beat is not None and beat.position > (self._last or 0):
                    # Invariant 16: a position beyond the head would be stored as published, and end every life.
                    if beat.position > self._events.head_position():
                        self._wal.pass_over("beyond", "a heartbeat of a position beyond the head")
                        continue
                    if has_gap(self._last, beat.position):
                        return self._hold(messages[at:], beat.position, rows)
                self._beat = beat or self._beat
            elif isinstance(message, Change):
                self._wal.pass_over(message.kind, f"a message of kind {message.kind}: the publication has only inserts")
        self._pass(records, passed)
        return rows

    def _describe(self, message: Relation) -> None:
        relation = message.relation_id.to_bytes(4, "big")
        self._readers.pop(relation, None)
        self._foreign.pop(relation, None)
        # Without a known position nothing would show what is passed over here.
        read = self._wal.reader(message, strict=self._last is None)
        if isinstance(read, ForeignRelation):
            self._foreign[relation] = read
        else:
            self._readers[relation] = read

    def _hold(self, messages: list[bytes], gap_upto: int, rows: int) -> int:
        """Keep ``messages`` back until all up to ``gap_upto`` is passed on."""
        if self.out.is_open:
            raise ProtocolError(f"a transaction with a hole in its positions, behind {self._last}")
        assert self._last is not None
        log.warning(
            "the slot did not bring positions %d to %d: they are published from the event store, then the WAL goes on",
            self._last + 1,
            gap_upto,
        )
        self._held, self._gap_upto = messages, gap_upto
        return rows

    def _pass(self, records: list[ProducerRecord], rows: int) -> None:
        if rows:
            assert self._last is not None
            self.out.add(records, rows, self._last)

    def _commit(self, message: Commit) -> None:
        if not self.out.is_open:
            self.out.open(self._begin.commit_ms if self._begin is not None else 0)
        if self._beat is not None:
            # All up to its position has been read; so a place is known even if no event ever comes.
            self._last = max(self._last or 0, self._beat.position)
        if self._last is not None:
            self.out.add([], 0, self._last)
        token = self.out.close(message.end_lsn)
        if self._beat is not None:
            self._beats.append((token, self._beat))
        self._begin, self._beat = None, None
