"""The publishing half of every relay: records in, in the log's order; out, up to where Kafka has acknowledged all.

The way of a transaction: it is opened under a batch_id → its records are handed to the publisher as they come → it is
closed → Kafka acknowledges the batch_id → the watermark moves past it once all earlier ones are acknowledged too.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from infrastructure.kafka.ports import ProducerRecord, Publisher, PublishError


class Watermark:
    """Tokens are handed out in the log's order; acknowledgements may come in any order (invariant 2).

    Acks that overtook each other have moved confirmed LSNs past undelivered records elsewhere; here an LSN is
    confirmed only from the front of the queue.
    """

    def __init__(self, position: int | None = None) -> None:
        self._open: deque[tuple[int, int, int | None]] = deque()
        self._done: set[int] = set()
        self.confirmed = 0
        """LSN before which everything is safe."""
        self.position = position
        """The mark: every event up to here is acknowledged; None while that is not known."""
        self.last_passed_batch = 0
        """The last batch_id passed."""

    def committed(self, batch_id: int, end_lsn: int, position: int | None = None) -> None:
        """The transaction of ``batch_id`` ends at ``end_lsn`` (0 if it was not read from the WAL) and at
        ``position``."""
        self._open.append((batch_id, end_lsn, position))
        self._advance()

    def acknowledged(self, batch_id: int) -> None:
        self._done.add(batch_id)
        self._advance()

    def confirm_idle_wal(self, wal_end: int) -> None:
        """The server says that it has sent all up to ``wal_end``, and we stand between transactions.

        Without this an idle table would hold the server's WAL for ever.
        """
        if not self._open:
            self.confirmed = max(self.confirmed, wal_end)

    def unacknowledged_transactions(self) -> int:
        """Transactions that are not confirmed yet."""
        return len(self._open)

    def _advance(self) -> None:
        while self._open and self._open[0][0] in self._done:
            batch_id, end_lsn, position = self._open.popleft()
            self._done.discard(batch_id)
            self.confirmed = max(self.confirmed, end_lsn)
            if position is not None:
                self.position = max(self.position or 0, position)
            self.last_passed_batch = batch_id


STALLED_AFTER_S = 30.0
"""Seen: after a restart of Apache Kafka, which was back within seconds, librdkafka's producer acknowledged nothing for
87 s, and would not have. With Kafka away a new producer fares no worse than the old one."""
MAX_COUNTED_INTERVAL_S = 1.0
"""One look tells of no more time than this: whoever was stopped himself must not blame the producer."""


class DeliveryStallDetector:
    """Looked at in every round, with the records that are in flight."""

    def __init__(self) -> None:
        self._in_flight = 0
        self._looked_at = 0.0
        self._seconds = 0.0

    def observe(self, in_flight: int, now: float) -> float:
        """For how long, seconds, the same number of records has been in flight; 0.0 if none is. ``now``: monotonic."""
        moved = in_flight == 0 or in_flight != self._in_flight
        self._seconds = 0.0 if moved else self._seconds + min(now - self._looked_at, MAX_COUNTED_INTERVAL_S)
        self._in_flight, self._looked_at = in_flight, now
        return self._seconds


MAX_WAITING_RECORDS = 20_000
"""Records read and not yet accepted by the publisher; past it nothing is read (invariant 15)."""


@dataclass
class RelayProgress:
    """What a relay has done since it started. ``position``: all up to it is acknowledged; None while not known."""

    published: int = 0
    acknowledged: int = 0
    skipped: int = 0
    """Events of streams that no topic carries."""
    repeated: int = 0
    """Events that came again and had been passed."""
    filled: int = 0
    """Events that the WAL did not bring and the table did."""
    transactions: int = 0
    position: int | None = None
    commit_ms: int = 0
    """Commit time of the last transaction acknowledged, epoch milliseconds."""
    behind_ms: int = -1
    """How long the last transaction took from its commit until it was acknowledged; -1 before the first."""
    event_ms: int = -1
    """When the last transaction that held an event was acknowledged, epoch milliseconds; -1 before the first."""


@dataclass
class _Transaction:
    commit_ms: int
    rows: int = 0
    position: int | None = None


class InFlightTransactions:
    """One transaction is open at a time. Any exception means: throw it away and start again from the mark."""

    def __init__(self, publisher: Publisher, position: int | None) -> None:
        """``position``: the mark to start from, None if there is none."""
        self._publisher = publisher
        self._watermark = Watermark(position)
        self._transactions: dict[int, _Transaction] = {}
        self._waiting: deque[tuple[int, list[ProducerRecord]]] = deque()
        self._waiting_records = 0
        self._sealed: deque[tuple[int, int]] = deque()
        self._batch_id = 0
        self._stall_detector = DeliveryStallDetector()
        self.is_open = False
        self.progress = RelayProgress(position=position)

    @property
    def confirmed(self) -> int:
        """LSN before which everything is acknowledged."""
        return self._watermark.confirmed

    @property
    def last_passed_batch(self) -> int:
        """The last batch_id of which it and all earlier ones are acknowledged."""
        return self._watermark.last_passed_batch

    def open(self, commit_ms: int) -> None:
        """Begin a transaction that was committed at ``commit_ms``, epoch milliseconds."""
        assert not self.is_open
        self._batch_id += 1
        self.is_open = True
        self._transactions[self._batch_id] = _Transaction(commit_ms)

    def add(self, records: list[ProducerRecord], rows: int, position: int) -> None:
        """``rows`` more of the open transaction up to ``position``, of which ``records`` go out."""
        transaction = self._transactions[self._batch_id]
        transaction.rows += rows
        transaction.position = position
        if records:
            self._waiting.append((self._batch_id, records))
            self._waiting_records += len(records)

    def close(self, end_lsn: int = 0) -> int:
        """The open transaction is whole, and ends at ``end_lsn`` if it was read from the WAL; its batch_id."""
        self.is_open = False
        self._sealed.append((self._batch_id, end_lsn))
        return self._batch_id

    def has_capacity(self) -> bool:
        """Whether more may be read."""
        return self._waiting_records < MAX_WAITING_RECORDS

    def free_capacity(self) -> int:
        """How many more records may wait for the publisher; what was read at once may go beyond."""
        return max(0, MAX_WAITING_RECORDS - self._waiting_records)

    def confirm_idle_wal(self, wal_end: int) -> None:
        """All that the server has sent up to ``wal_end`` was read; confirmed if nothing of it is under way."""
        if not self.is_open and not self._waiting and not self._sealed:
            self._watermark.confirm_idle_wal(wal_end)

    def unacknowledged_transactions(self) -> int:
        """Transactions closed and not acknowledged."""
        return self._watermark.unacknowledged_transactions()

    def unacknowledged_records(self) -> int:
        """Records read and not acknowledged."""
        return self._waiting_records + self._publisher.in_flight()

    def handed_over_records(self) -> int:
        """Records handed over and not acknowledged."""
        return self._publisher.in_flight()

    def oldest_commit_ms(self) -> int | None:
        """Commit time of the oldest transaction that is read and not acknowledged, epoch milliseconds."""
        oldest = next(iter(self._transactions.values()), None)
        return None if oldest is None else oldest.commit_ms

    def publish(self) -> bool:
        """Hand over what waits, in order, as far as the publisher takes it; whether anything moved."""
        moved = False
        while self._waiting:
            batch_id, records = self._waiting[0]
            self._seal_before(batch_id)
            accepted = self._publisher.publish(batch_id, records)
            self.progress.published += accepted
            self._waiting_records -= accepted
            moved = moved or accepted > 0
            if accepted < len(records):
                self._waiting[0] = (batch_id, records[accepted:])
                return moved
            self._waiting.popleft()
        self._seal_before(self._batch_id + 1)
        return moved

    def collect(self, timeout_s: float = 0.0) -> None:
        """Take the acknowledgements that have come, or come within ``timeout_s`` seconds. Raises PublishError."""
        for batch_id in self._publisher.acknowledged(timeout_s):
            self._watermark.acknowledged(batch_id)
            transaction = self._transactions.pop(batch_id)
            self.progress.transactions += 1
            self.progress.acknowledged += transaction.rows
            self.progress.commit_ms = max(self.progress.commit_ms, transaction.commit_ms)
            now_ms = time.time_ns() // 1_000_000
            self.progress.behind_ms = max(0, now_ms - transaction.commit_ms)
            if transaction.rows:
                self.progress.event_ms = now_ms
        self.progress.position = self._watermark.position
        in_flight = self._publisher.in_flight()
        if self._stall_detector.observe(in_flight, time.monotonic()) > STALLED_AFTER_S:
            raise PublishError(
                f"Kafka has acknowledged none of {in_flight:,} records for {STALLED_AFTER_S:.0f} s: "
                "they are sent again by a new producer"
            )

    def _seal_before(self, batch_id: int) -> None:
        """Seal closed transactions whose records have all been handed over."""
        while self._sealed and self._sealed[0][0] < batch_id:
            done, end_lsn = self._sealed.popleft()
            self._watermark.committed(done, end_lsn, self._transactions[done].position)
            self._publisher.seal(done)
