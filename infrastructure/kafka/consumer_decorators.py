"""A topic that is another one, but for what a subclass does besides."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from projections.core.ports import ConsumerRecord, RecordConsumer


class ConsumerDecorator:
    """``projections.core.ports.Topic``: every call is that of the topic within."""

    def __init__(self, consumer: RecordConsumer) -> None:
        self._consumer = consumer

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
        return self._consumer.poll(max_records, timeout_s)

    def assignment(self) -> Mapping[int, int]:
        return self._consumer.assignment()

    def seek_to_end(self, partitions: Sequence[int]) -> None:
        self._consumer.seek_to_end(partitions)

    def seek(self, partition: int, offset: int) -> None:
        self._consumer.seek(partition, offset)

    def commit(self, offsets: Mapping[int, int]) -> None:
        self._consumer.commit(offsets)

    def close(self) -> None:
        self._consumer.close()


NEXT_FETCH_TIMEOUT_S = 0.05
"""A broker that has more answers a fetch within this."""
MAX_BATCH_DURATION_S = 0.5
"""A stream that never pauses for that long would hold the first record until the batch is full."""


class BatchingConsumer(ConsumerDecorator):
    """``projections.core.ports.Topic``.

    A batch ends when it is full, when nothing more comes for NEXT_FETCH_TIMEOUT_S, or MAX_BATCH_DURATION_S after its
    first record.
    """

    def __init__(self, consumer: RecordConsumer, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(consumer)
        self._clock = clock

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
        records = more = self._consumer.poll(max_records, timeout_s)
        deadline = self._clock() + MAX_BATCH_DURATION_S
        while more and len(records) < max_records and self._clock() < deadline:
            more = self._consumer.poll(max_records - len(records), NEXT_FETCH_TIMEOUT_S)
            records = records + more
        return records


Observe = Callable[[float], None]


class TimedConsumer(ConsumerDecorator):
    """``projections.core.ports.Topic``. ``applied`` is to be called once what was polled is folded and stored."""

    def __init__(self, consumer: RecordConsumer, on_records: Observe, on_seconds: Observe) -> None:
        """Told of each batch that is not empty: how many records it had, and the seconds until ``applied``."""
        super().__init__(consumer)
        self._on_records = on_records
        self._on_seconds = on_seconds
        self._polled_at: float | None = None
        self._polled = 0

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
        found = super().poll(max_records, timeout_s)
        self._polled_at = None
        if found:
            self._polled_at = time.perf_counter()
            self._polled = len(found)
            self._on_records(self._polled)
        return found

    def applied(self) -> tuple[int, float]:
        """Records of the last poll, and the seconds since; nothing came: 0, 0.0."""
        if self._polled_at is None:
            return 0, 0.0
        took = time.perf_counter() - self._polled_at
        self._on_seconds(took)
        self._polled_at = None
        return self._polled, took
