"""A topic and a sink that tell how long they took; otherwise they are what they wrap. One clock reading a batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from infrastructure.passing_sink import PassingSink
from infrastructure.passing_topic import PassingTopic
from projections.ports import Record, ShardWrite, Sink, Topic

Observe = Callable[[float], None]


class TimedTopic(PassingTopic):
    """``projections.ports.Topic``. ``applied`` is to be called once what was polled is folded and stored."""

    def __init__(self, topic: Topic, records: Observe, seconds: Observe) -> None:
        """Told of each batch that is not empty: how many records it had, and the seconds until ``applied``."""
        super().__init__(topic)
        self._records = records
        self._seconds = seconds
        self._came_at: float | None = None
        self._came = 0

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
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


class TimedSink(PassingSink):
    """``projections.ports.Sink`` that tells the seconds of each ``apply``, also of one that failed."""

    def __init__(self, sink: Sink, seconds: Observe) -> None:
        super().__init__(sink)
        self._seconds = seconds

    def apply(self, writes: Sequence[ShardWrite]) -> list[bool]:
        began = time.perf_counter()
        try:
            return super().apply(writes)
        finally:
            self._seconds(time.perf_counter() - began)
