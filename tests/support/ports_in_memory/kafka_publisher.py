"""Publishing into a broker in memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from infrastructure.kafka.delivery_tracker import DeliveryTracker, PendingBatch
from infrastructure.kafka.ports import ProducerRecord, PublishError
from tests.support.ports_in_memory.kafka_broker import MemoryBroker


class MemoryPublisher:
    """``infrastructure.kafka.ports.Publisher``; ``queue`` is the number of records it takes before their reports."""

    def __init__(self, broker: MemoryBroker, *, queue: int = 100_000) -> None:
        self._broker = broker
        self._queue = queue
        self._tokens = DeliveryTracker()
        self._unsent: deque[tuple[PendingBatch, ProducerRecord]] = deque()
        self._reports: deque[tuple[PendingBatch, str | None]] = deque()

    def publish(self, token: int, records: Sequence[ProducerRecord]) -> int:
        self._raise_failure()
        entry = self._tokens.batch(token)
        accepted = records[: max(0, self._queue - self._tokens.in_flight)]
        entry.sent(len(accepted))
        self._unsent.extend((entry, record) for record in accepted)
        self._send()
        return len(accepted)

    def seal(self, token: int) -> None:
        self._tokens.batch(token).seal()

    def acknowledged(self, timeout_s: float) -> list[int]:
        deadline = time.monotonic() + timeout_s
        self._serve()
        with self._broker.changed:
            while not self._tokens.any_finished() and (left := deadline - time.monotonic()) > 0:
                # The flags of the broker are plain attributes, so a change of them wakes no waiting thread.
                self._broker.changed.wait(min(left, 0.01))
                self._serve()
        self._raise_failure()
        return self._tokens.take()

    def in_flight(self) -> int:
        return self._tokens.in_flight

    def close(self, timeout_s: float = 5.0) -> int:
        self._serve()
        return self._tokens.in_flight

    def _send(self) -> None:
        while self._unsent and self._broker.accepting:
            entry, record = self._unsent.popleft()
            self._reports.append((entry, self._broker.append(record)))

    def _serve(self) -> None:
        self._send()
        while self._reports and self._broker.acknowledging:
            entry, error = self._reports.popleft()
            entry.delivered(error, None)

    def _raise_failure(self) -> None:
        if self._tokens.failure is not None:
            raise PublishError(self._tokens.failure)
