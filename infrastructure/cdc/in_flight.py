"""The publishing half of every relay: takes records in log order, and knows up to where Kafka acknowledged all.

A transaction is opened under a batch id → its records are handed to the publisher as they come → it is closed → Kafka
acknowledges the batch → the watermark advances past it once all earlier batches are acknowledged too.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from infrastructure import timestamps
from infrastructure.kafka.ports import ProducerRecord, Publisher, PublishError


class Watermark:
    """The point up to which everything is acknowledged: a batch *and all earlier ones*. Pure (invariant 2).

    Batch ids are assigned in log order; acknowledgements may come in any order. In other systems, acknowledgements that
    overtook each other have moved the confirmed LSN past undelivered records. Here an LSN is confirmed only from the
    front of the queue.
    """

    def __init__(self, position: int | None = None) -> None:
        self._open: deque[tuple[int, int, int | None]] = deque()
        self._done: set[int] = set()
        self.confirmed = 0
        """LSN before which everything is acknowledged."""
        self.position = position
        """Every event up to here is acknowledged; None while that is unknown."""
        self.last_passed_batch = 0
        """The last batch of which it and all earlier ones are acknowledged."""

    def committed(self, batch_id: int, end_lsn: int, position: int | None = None) -> None:
        """Record that a batch ends at ``end_lsn`` (0 if it was not read from the WAL) and at ``position``."""
        self._open.append((batch_id, end_lsn, position))
        self._advance()

    def acknowledged(self, batch_id: int) -> None:
        """Record that Kafka acknowledged every record of a batch."""
        self._done.add(batch_id)
        self._advance()

    def confirm_idle_wal(self, wal_end: int) -> None:
        """Confirm ``wal_end`` if no batch is outstanding. The server has sent all up to it, and no transaction is open.

        Without this, an idle table would retain the server's WAL forever.
        """
        if not self._open:
            self.confirmed = max(self.confirmed, wal_end)

    def unacknowledged_transactions(self) -> int:
        """Number of transactions that are not confirmed yet."""
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
"""Observed: after a restart of Apache Kafka, which was back within seconds, librdkafka's producer acknowledged nothing
for 87 s, and never would have. While Kafka is unavailable, a new producer does no worse than the old one."""
MAX_COUNTED_INTERVAL_S = 1.0
"""Time counted per observation, at most. If this process itself was paused, the pause must not count as a stall of the
producer."""


class DeliveryStallDetector:
    """Distinguishes a producer that has stopped making progress from a slow one. Pure: the caller passes the time."""

    def __init__(self) -> None:
        self._in_flight = 0
        self._observed_at = 0.0
        self._seconds = 0.0

    def observe(self, in_flight: int, now: float) -> float:
        """Seconds for which the number of records in flight has not changed; 0.0 if none is. Call it in every round.

        ``now``: seconds on a monotonic clock.
        """
        moved = in_flight == 0 or in_flight != self._in_flight
        self._seconds = 0.0 if moved else self._seconds + min(now - self._observed_at, MAX_COUNTED_INTERVAL_S)
        self._in_flight, self._observed_at = in_flight, now
        return self._seconds


MAX_WAITING_RECORDS = 20_000
"""Bound of the records read and not yet accepted by the publisher; above it nothing is read (invariant 15)."""


@dataclass
class RelayProgress:
    """What a relay has done since it started. ``position``: all up to it is acknowledged; None while unknown."""

    published: int = 0
    acknowledged: int = 0
    skipped: int = 0
    """Events of streams that no topic carries."""
    repeated: int = 0
    """Events that were delivered again after they had been handled."""
    filled: int = 0
    """Events that the WAL missed and that were read from the table."""
    transactions: int = 0
    position: int | None = None
    commit_ms: int = 0
    """Commit time of the last transaction acknowledged, epoch milliseconds."""
    behind_ms: int = -1
    """Milliseconds from the commit of the last transaction until its acknowledgement; -1 before the first."""
    event_ms: int = -1
    """When the last transaction that held an event was acknowledged, epoch milliseconds; -1 before the first."""


@dataclass
class _Transaction:
    commit_ms: int
    rows: int = 0
    position: int | None = None


class InFlightTransactions:
    """Transactions that are read and not acknowledged. One is open at a time.

    After any exception, discard the object and restart from the saved checkpoint.
    """

    def __init__(self, publisher: Publisher, position: int | None) -> None:
        """``position``: the saved checkpoint to resume after, None if there is none."""
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
        """The last batch of which it and all earlier ones are acknowledged."""
        return self._watermark.last_passed_batch

    def open(self, commit_ms: int) -> None:
        """Open a transaction that was committed at ``commit_ms``, epoch milliseconds."""
        assert not self.is_open
        self._batch_id += 1
        self.is_open = True
        self._transactions[self._batch_id] = _Transaction(commit_ms)

    def add(self, records: list[ProducerRecord], rows: int, position: int) -> None:
        """Add ``rows`` events of the open transaction, up to ``position``; ``records`` are those to publish."""
        transaction = self._transactions[self._batch_id]
        transaction.rows += rows
        transaction.position = position
        if records:
            self._waiting.append((self._batch_id, records))
            self._waiting_records += len(records)

    def close(self, end_lsn: int = 0) -> int:
        """Close the open transaction, which ends at ``end_lsn`` if it was read from the WAL. Returns its batch id."""
        self.is_open = False
        self._sealed.append((self._batch_id, end_lsn))
        return self._batch_id

    def has_capacity(self) -> bool:
        """Whether more may be read."""
        return self._waiting_records < MAX_WAITING_RECORDS

    def free_capacity(self) -> int:
        """How many more records may wait for the publisher; a single read may exceed it."""
        return max(0, MAX_WAITING_RECORDS - self._waiting_records)

    def confirm_idle_wal(self, wal_end: int) -> None:
        """Confirm ``wal_end``, up to which all WAL was read, unless a transaction is still in flight."""
        if not self.is_open and not self._waiting and not self._sealed:
            self._watermark.confirm_idle_wal(wal_end)

    def unacknowledged_transactions(self) -> int:
        """Number of transactions closed and not acknowledged."""
        return self._watermark.unacknowledged_transactions()

    def unacknowledged_records(self) -> int:
        """Number of records read and not acknowledged."""
        return self._waiting_records + self._publisher.in_flight()

    def handed_over_records(self) -> int:
        """Number of records handed to the publisher and not acknowledged."""
        return self._publisher.in_flight()

    def oldest_commit_ms(self) -> int | None:
        """Commit time of the oldest transaction in flight, epoch milliseconds; None if there is none."""
        oldest = next(iter(self._transactions.values()), None)
        return None if oldest is None else oldest.commit_ms

    def publish(self) -> bool:
        """Hand waiting records to the publisher, in order, until its queue is full.

        Returns whether it accepted any.
        """
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
        """Process the acknowledgements that arrive within ``timeout_s`` seconds.

        Raises PublishError on a failed delivery, and when none of the records in flight was acknowledged for
        STALLED_AFTER_S.
        """
        for batch_id in self._publisher.acknowledged(timeout_s):
            self._watermark.acknowledged(batch_id)
            transaction = self._transactions.pop(batch_id)
            self.progress.transactions += 1
            self.progress.acknowledged += transaction.rows
            self.progress.commit_ms = max(self.progress.commit_ms, transaction.commit_ms)
            now_ms = timestamps.now_ms()
            self.progress.behind_ms = max(0, now_ms - transaction.commit_ms)
            if transaction.rows:
                self.progress.event_ms = now_ms
        self.progress.position = self._watermark.position
        in_flight = self._publisher.in_flight()
        if self._stall_detector.observe(in_flight, time.monotonic()) > STALLED_AFTER_S:
            raise PublishError(
                f"Kafka has acknowledged none of {in_flight:,} records for {STALLED_AFTER_S:.0f} s: "
                "a new producer sends them again"
            )

    def _seal_before(self, batch_id: int) -> None:
        """Seal the closed transactions before ``batch_id``: all their records have been handed over."""
        while self._sealed and self._sealed[0][0] < batch_id:
            done, end_lsn = self._sealed.popleft()
            self._watermark.committed(done, end_lsn, self._transactions[done].position)
            self._publisher.seal(done)
