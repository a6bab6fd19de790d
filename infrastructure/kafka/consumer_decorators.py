"""Consumer decorators: the base class, one that batches fetches, and one that measures times."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from projections.core.ports import ConsumerRecord, RecordConsumer


class ConsumerDecorator:
    """Base class of consumer decorators: forwards every call of ``RecordConsumer`` to the wrapped consumer."""

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
"""A broker that has more records answers a fetch within this time."""
MAX_BATCH_DURATION_S = 0.5
"""Without this bound, a stream that never pauses would delay the first record until the batch is full."""


class BatchingConsumer(ConsumerDecorator):
    """Returns all the records that the broker has, not only those that the client has fetched already.

    A batch ends when it is full, when nothing more arrives for NEXT_FETCH_TIMEOUT_S, or MAX_BATCH_DURATION_S after its
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
    """Measures the size of each batch, and the time until it is applied. One clock reading per batch.

    Call ``applied`` once the polled records are folded and stored.
    """

    def __init__(self, consumer: RecordConsumer, on_records: Observe, on_seconds: Observe) -> None:
        """For each batch that is not empty: ``on_records`` gets its size, ``on_seconds`` the time until ``applied``."""
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
        """The number of records of the last poll, and the seconds since; 0, 0.0 if it was empty."""
        if self._polled_at is None:
            return 0, 0.0
        took = time.perf_counter() - self._polled_at
        self._on_seconds(took)
        self._polled_at = None
        return self._polled, took
