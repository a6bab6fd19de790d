"""A topic that is another one, but for what a subclass does besides."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from projections.core.ports import ConsumerRecord, RecordConsumer


class ConsumerDecorator:
    """``projections.core.ports.Topic``: every call is that of the topic within."""

    def __init__(self, topic: RecordConsumer) -> None:
        self._topic = topic

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
        return self._topic.poll(max_records, timeout_s)

    def assignment(self) -> Mapping[int, int]:
        return self._topic.assignment()

    def seek_to_end(self, partitions: Sequence[int]) -> None:
        self._topic.seek_to_end(partitions)

    def seek(self, partition: int, offset: int) -> None:
        self._topic.seek(partition, offset)

    def commit(self, offsets: Mapping[int, int]) -> None:
        self._topic.commit(offsets)

    def close(self) -> None:
        self._topic.close()


MORE_WITHIN_S = 0.05
"""A broker that has more answers a fetch within this."""
LONGEST_S = 0.5
"""A stream that never pauses for that long would hold the first record until the batch is full."""


class BatchingConsumer(ConsumerDecorator):
    """``projections.core.ports.Topic``.

    A batch ends when it is full, when nothing more comes for MORE_WITHIN_S, or LONGEST_S after its first record.
    """

    def __init__(self, topic: RecordConsumer, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(topic)
        self._clock = clock

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
        records = more = self._topic.poll(max_records, timeout_s)
        deadline = self._clock() + LONGEST_S
        while more and len(records) < max_records and self._clock() < deadline:
            more = self._topic.poll(max_records - len(records), MORE_WITHIN_S)
            records = records + more
        return records


Observe = Callable[[float], None]


class TimedConsumer(ConsumerDecorator):
    """``projections.core.ports.Topic``. ``applied`` is to be called once what was polled is folded and stored."""

    def __init__(self, topic: RecordConsumer, records: Observe, seconds: Observe) -> None:
        """Told of each batch that is not empty: how many records it had, and the seconds until ``applied``."""
        super().__init__(topic)
        self._records = records
        self._seconds = seconds
        self._came_at: float | None = None
        self._came = 0

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
        found = super().poll(max_records, timeout_s)
        self._came_at = None
        if found:
            self._came_at = time.perf_counter()
            self._came = len(found)
            self._records(self._came)
        return found

    def applied(self) -> tuple[int, float]:
        """Records of the last poll, and the seconds since; nothing came: 0, 0.0."""
        if self._came_at is None:
            return 0, 0.0
        took = time.perf_counter() - self._came_at
        self._seconds(took)
        self._came_at = None
        return self._came, took
