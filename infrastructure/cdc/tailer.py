"""The CDC tailer: WAL in, Kafka out, and no LSN confirmed before its records are safe (invariant 2).

The way of a transaction: Begin opens a token → its rows are published under it as they come → Commit seals it → Kafka
acknowledges the token → the watermark moves past it once all earlier ones are acknowledged too → the server is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from infrastructure.cdc.pgoutput import Begin, Commit, Insert, ProtocolError, Relation, parse
from infrastructure.cdc.rows import RowToRecord, row_to_record
from infrastructure.cdc.stream import Batch
from infrastructure.cdc.watermark import Watermark
from infrastructure.kafka.port import OutRecord, Publisher

READ_MESSAGES = 2_000
WAITING_RECORDS = 20_000
"""Rows parsed and not yet accepted by the publisher; past it the WAL is not read (invariant 15)."""


class Stream(Protocol):
    """What the tailer needs of a replication connection."""

    def read(self, limit: int) -> Batch: ...

    def wait(self, timeout_s: float) -> None: ...

    def confirm(self, lsn: int) -> None: ...


@dataclass
class Progress:
    """What a tailer has done since it started; ``position`` is the last one acknowledged by Kafka."""

    published: int = 0
    acknowledged: int = 0
    skipped: int = 0
    transactions: int = 0
    position: int = 0
    commit_ms: int = 0
    """Commit time of the last transaction confirmed, epoch milliseconds."""
    confirmed_lsn: int = 0


@dataclass
class _Transaction:
    commit_ms: int
    rows: int = 0
    last_position: int = 0


class Tailer:
    """Drive it with ``step``. Any exception means: throw it away and start again from the confirmed LSN."""

    def __init__(self, stream: Stream, publisher: Publisher, topics: Mapping[str, str], partitions: int) -> None:
        self._stream = stream
        self._publisher = publisher
        self._topics = topics
        self._partitions = partitions
        self._watermark = Watermark()
        self._converters: dict[int, RowToRecord] = {}
        self._transactions: dict[int, _Transaction] = {}
        self._waiting: deque[tuple[int, list[OutRecord]]] = deque()
        self._waiting_records = 0
        self._sealed: deque[tuple[int, int]] = deque()
        self._token = 0
        self._open = False
        self.progress = Progress()

    def step(self, timeout_s: float) -> int:
        """Read, publish, collect acknowledgements, confirm; the number of rows read.

        Raises ProtocolError, PublishError or StreamLost.
        """
        rows = 0
        moved = self._publish()
        if self._waiting_records < WAITING_RECORDS:
            batch = self._stream.read(READ_MESSAGES)
            rows = self._take(batch)
            moved = self._publish() or moved
            if batch.drained and not self._open and not self._waiting:
                self._watermark.idle(batch.wal_end)
        self._collect()
        self._stream.confirm(self._watermark.confirmed)
        self.progress.confirmed_lsn = self._watermark.confirmed
        if not rows and not moved:
            # Acknowledgements do not wake the socket: look for them often while any is due.
            self._stream.wait(min(timeout_s, 0.005) if self._publisher.in_flight() else timeout_s)
        return rows

    def outstanding(self) -> int:
        """Transactions read and not confirmed."""
        return self._watermark.outstanding()

    def in_flight(self) -> int:
        """Records read and not acknowledged."""
        return self._waiting_records + self._publisher.in_flight()

    def waits_since_ms(self) -> int | None:
        """Commit time of the oldest transaction that is read and not acknowledged, epoch milliseconds."""
        oldest = next(iter(self._transactions.values()), None)
        return None if oldest is None else oldest.commit_ms

    def _take(self, batch: Batch) -> int:
        rows = 0
        records: list[OutRecord] = []
        for data in batch.messages:
            message = parse(data)
            if isinstance(message, Insert):
                rows += 1
                record = self._convert(message)
                if record is not None:
                    records.append(record)
            elif isinstance(message, Begin):
                self._token += 1
                self._open = True
                self._transactions[self._token] = _Transaction(message.commit_ms)
            elif isinstance(message, Commit):
                self._queue(records)
                records = []
                self._open = False
                self._sealed.append((self._token, message.end_lsn))
            elif isinstance(message, Relation):
                self._converters[message.relation_id] = row_to_record(message, self._topics, self._partitions)
        self._queue(records)
        return rows

    def _convert(self, message: Insert) -> OutRecord | None:
        convert = self._converters.get(message.relation_id)
        if convert is None or not self._open:
            raise ProtocolError(f"a row of relation {message.relation_id} before its description or its Begin")
        transaction = self._transactions[self._token]
        transaction.rows += 1
        transaction.last_position = int(message.values[0] or b"0")
        record = convert(message.values)
        if record is None:
            self.progress.skipped += 1
        return record

    def _queue(self, records: list[OutRecord]) -> None:
        if records:
            self._waiting.append((self._token, records))
            self._waiting_records += len(records)

    def _publish(self) -> bool:
        """Hand over what waits, in order, as far as the publisher takes it; whether anything moved."""
        moved = False
        while self._waiting:
            token, records = self._waiting[0]
            self._seal_before(token)
            accepted = self._publisher.publish(token, records)
            self.progress.published += accepted
            self._waiting_records -= accepted
            moved = moved or accepted > 0
            if accepted < len(records):
                self._waiting[0] = (token, records[accepted:])
                return moved
            self._waiting.popleft()
        self._seal_before(self._token + 1)
        return moved

    def _seal_before(self, token: int) -> None:
        """Seal committed transactions whose rows have all been handed over."""
        while self._sealed and self._sealed[0][0] < token:
            done, end_lsn = self._sealed.popleft()
            self._watermark.committed(done, end_lsn)
            self._publisher.seal(done)

    def _collect(self) -> None:
        for token in self._publisher.acknowledged(0.0):
            self._watermark.acknowledged(token)
            transaction = self._transactions.pop(token)
            self.progress.transactions += 1
            self.progress.acknowledged += transaction.rows
            self.progress.position = max(self.progress.position, transaction.last_position)
            self.progress.commit_ms = max(self.progress.commit_ms, transaction.commit_ms)
