"""The CDC tailer: reads the WAL, publishes to Kafka, and confirms no LSN before its records are acknowledged.

That is invariant 2. Events that the WAL does not deliver, because the slot was lost or replaced, are read from the
table and published in their place. The topic therefore holds every position, in order, whatever happens to the slot.

The position alone decides what the tailer does with an event; it is the fence of the topic. Positions are contiguous
and in commit order (invariant 1), so the next event to publish is the last one + 1. A lower position is a repetition.
A higher one shows that the WAL misses the events in between: the slot was lost, dropped, recreated or advanced by
another process. LSNs cannot show that: the rows of one transaction share one LSN, and row LSNs are not monotonic.
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
    """How the position of an event relates to the last position that was handled."""

    NEXT = "next"
    """Publish it."""
    REPEATED = "repeated"
    """Drop it: it was handled before."""
    GAP = "gap"
    """Publish the missing events before it first, from the table."""


NEXT, REPEATED, GAP = PositionVerdict


def classify_position(last: int | None, position: int) -> PositionVerdict:
    """Classify the event at ``position`` when all up to ``last`` is handled. If ``last`` is None, any event is next."""
    if last is None or position == last + 1:
        return NEXT
    return REPEATED if position <= last else GAP


def is_missing_events(last: int | None, upto: int) -> bool:
    """Whether an event up to ``upto`` is still to be handled, although the WAL has been read beyond its commit.

    A heartbeat names such a position. A gap ends at one, until it is filled. False if ``last`` is not known.
    """
    return last is not None and upto > last


log = logging.getLogger("ridelog.tailer")

MAX_READ_MESSAGES = 2_000
ACKNOWLEDGEMENT_POLL_INTERVAL_S = 0.005
"""How often acknowledgements are polled while any is due."""


class WalStream(Protocol):
    """The part of a replication connection that the tailer uses."""

    def read(self, limit: int) -> WalBatch: ...

    def wait(self, timeout_s: float) -> None: ...

    def confirm(self, lsn: int) -> None: ...


class Tailer:
    """Call ``step`` in a loop. After any exception, discard the tailer and restart from the saved checkpoint."""

    def __init__(
        self,
        stream: WalStream,
        transactions: InFlightTransactions,
        events: EventSource,
        checkpoint_saver: CheckpointSaver,
        wal: WalFilter,
        on_heartbeat: Callable[[Heartbeat], None] = lambda heartbeat: None,
    ) -> None:
        """``on_heartbeat`` is called for each heartbeat once everything recorded before it is acknowledged."""
        self._stream = stream
        self.transactions = transactions
        self._events = events
        self._checkpoint_saver = checkpoint_saver
        self._wal = wal
        self._on_heartbeat = on_heartbeat
        self._readers: dict[bytes, RowReader] = {}
        """By relation id, in the four bytes that a row's message has."""
        self._foreign: dict[bytes, ForeignRelation] = {}
        """Relations whose rows are skipped."""
        self._begin: Begin | None = None
        self._last = transactions.progress.position
        """Every event up to here is acknowledged, or was handed to ``transactions`` since the start."""
        self._gap_upto = 0
        self._held: list[bytes] = []
        """Messages that wait until the events before them are published from the table."""
        self._heartbeat: Heartbeat | None = None
        self._heartbeats: deque[tuple[int, Heartbeat]] = deque()

    def step(self, timeout_s: float) -> int:
        """Read, publish, collect acknowledgements, confirm. Returns the number of events read.

        Raises ProtocolError, PublishError, StreamLost, ForeignLog or SQLAlchemyError.
        """
        rows = 0
        moved = self.transactions.publish()
        if self.transactions.has_capacity():
            rows = self._fill_gap() if is_missing_events(self._last, self._gap_upto) else self._read()
            moved = self.transactions.publish() or moved
        # Without capacity nothing is read and the socket stays readable; waiting on it would burn a core while Kafka is
        # unavailable. So wait for Kafka's acknowledgements instead.
        self.transactions.collect(0.0 if moved or self.transactions.has_capacity() else ACKNOWLEDGEMENT_POLL_INTERVAL_S)
        while self._heartbeats and self._heartbeats[0][0] <= self.transactions.last_passed_batch:
            self._on_heartbeat(self._heartbeats.popleft()[1])
        # Save before confirming: the slot is never ahead of the saved checkpoint.
        self._stream.confirm(
            self._checkpoint_saver.save_if_due(self.transactions.progress.position, self.transactions.confirmed)
        )
        if not rows and not moved and not self._held and self.transactions.has_capacity():
            # Acknowledgements do not wake the socket, so poll for them often while any is due.
            self._stream.wait(
                min(timeout_s, ACKNOWLEDGEMENT_POLL_INTERVAL_S)
                if self.transactions.handed_over_records()
                else timeout_s
            )
        return rows

    def _fill_gap(self) -> int:
        """Publish the next events that the WAL missed. They committed before what was read, so they are visible."""
        assert self._last is not None
        before = self._last
        self._last = publish_range(self._events, self.transactions, before, self._gap_upto)
        if self._last == before:
            log_missing(before + 1, self._gap_upto)
            self._last = self._gap_upto
        self.transactions.progress.filled += self._last - before
        return self._last - before

    def _read(self) -> int:
        if self._held:
            held, self._held = self._held, []
            return self._process(held)
        batch = self._stream.read(MAX_READ_MESSAGES)
        rows = self._process(batch.messages)
        if batch.drained and self._begin is None and not self._held:
            self.transactions.confirm_idle_wal(batch.wal_end)
        return rows

    def _process(self, messages: list[bytes]) -> int:
        rows = passed = 0
        records: list[ProducerRecord] = []
        for at, data in enumerate(messages):
            if data[:1] == INSERT:
                rows += 1
                read = self._readers.get(data[1:5])
                if read is None or self._begin is None:
                    if (foreign := self._foreign.get(data[1:5])) is not None:
                        self._wal.skip(*foreign)
                        rows -= 1
                        continue
                    number = int.from_bytes(data[1:5], "big")
                    raise ProtocolError(f"a row of relation {number} before its description or its Begin")
                position, record = read(data)
                verdict = classify_position(self._last, position)
                if verdict is NEXT:
                    if not self.transactions.is_open:
                        self.transactions.open(self._begin.commit_ms)
                    self._last = position
                    passed += 1
                    if record is not None:
                        records.append(record)
                    else:
                        self.transactions.progress.skipped += 1
                elif verdict is REPEATED:
                    self.transactions.progress.repeated += 1
                elif position > self._events.head_position():
                    self._wal.skip("row", f"a row of events at position {position}, which is beyond the head")
                else:
                    return self._hold(messages[at:], position - 1, rows - 1)
                continue
            message = parse(data)
            if isinstance(message, Begin):
                self._begin = message
            elif isinstance(message, Commit):
                self._add_rows(records, passed)
                records, passed = [], 0
                self._commit(message)
            elif isinstance(message, Relation):
                self._register_relation(message)
            elif isinstance(message, LogicalMessage):
                heartbeat = self._wal.heartbeat(message)
                if heartbeat is not None and heartbeat.position > (self._last or 0):
                    # Invariant 16: a position beyond the head would be saved as published, and then end every restart.
                    if heartbeat.position > self._events.head_position():
                        self._wal.skip("beyond", "a heartbeat of a position beyond the head")
                        continue
                    if is_missing_events(self._last, heartbeat.position):
                        return self._hold(messages[at:], heartbeat.position, rows)
                self._heartbeat = heartbeat or self._heartbeat
            elif isinstance(message, Change):
                self._wal.skip(message.kind, f"a message of kind {message.kind}: the publication has only inserts")
        self._add_rows(records, passed)
        return rows

    def _register_relation(self, message: Relation) -> None:
        relation = message.relation_id.to_bytes(4, "big")
        self._readers.pop(relation, None)
        self._foreign.pop(relation, None)
        # Without a known position nothing would later show the events that are skipped here.
        read = self._wal.reader(message, strict=self._last is None)
        if isinstance(read, ForeignRelation):
            self._foreign[relation] = read
        else:
            self._readers[relation] = read

    def _hold(self, messages: list[bytes], gap_upto: int, rows: int) -> int:
        """Hold ``messages`` back until every event up to ``gap_upto`` is published."""
        if self.transactions.is_open:
            raise ProtocolError(f"a transaction with a gap in its positions, after {self._last}")
        assert self._last is not None
        log.warning(
            "the slot did not deliver positions %d to %d: they are published from the event store before the WAL",
            self._last + 1,
            gap_upto,
        )
        self._held, self._gap_upto = messages, gap_upto
        return rows

    def _add_rows(self, records: list[ProducerRecord], rows: int) -> None:
        if rows:
            assert self._last is not None
            self.transactions.add(records, rows, self._last)

    def _commit(self, message: Commit) -> None:
        if not self.transactions.is_open:
            self.transactions.open(self._begin.commit_ms if self._begin is not None else 0)
        if self._heartbeat is not None:
            # Every event up to its position has been read, so a position is known even if no event ever comes.
            self._last = max(self._last or 0, self._heartbeat.position)
        if self._last is not None:
            self.transactions.add([], 0, self._last)
        batch_id = self.transactions.close(message.end_lsn)
        if self._heartbeat is not None:
            self._heartbeats.append((batch_id, self._heartbeat))
        self._begin, self._heartbeat = None, None
