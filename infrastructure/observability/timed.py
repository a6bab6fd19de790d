"""A topic and a sink that tell how long they took; otherwise they are what they wrap. One clock reading a batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from projections.ports import Fence, Parked, Record, ShardWrite, Sink, Snapshot, Topic

Observe = Callable[[float], None]


class TimedTopic:
    """``projections.ports.Topic``. ``applied`` is to be called once what was polled is folded and stored."""

    def __init__(self, topic: Topic, records: Observe, seconds: Observe) -> None:
        """Told of each batch that is not empty: how many records it had, and the seconds until ``applied``."""
        self._topic = topic
        self._records = records
        self._seconds = seconds
        self._came_at: float | None = None

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        found = self._topic.poll(max_records, timeout_s)
        self._came_at = None
        if found:
            self._came_at = time.perf_counter()
            self._records(len(found))
        return found

    def applied(self) -> None:
        if self._came_at is not None:
            self._seconds(time.perf_counter() - self._came_at)
            self._came_at = None

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


class TimedSink:
    """``projections.ports.Sink`` that tells the seconds of each ``apply``, also of one that failed."""

    def __init__(self, sink: Sink, seconds: Observe) -> None:
        self._sink = sink
        self._seconds = seconds

    def apply(self, writes: Sequence[ShardWrite]) -> list[bool]:
        began = time.perf_counter()
        try:
            return self._sink.apply(writes)
        finally:
            self._seconds(time.perf_counter() - began)

    def fences(self, shards: Sequence[int]) -> list[Fence | None]:
        return self._sink.fences(shards)

    def load(self, keys: Mapping[int, Sequence[str]]) -> dict[int, dict[str, bytes]]:
        return self._sink.load(keys)

    def parked(self, shards: Sequence[int]) -> dict[int, dict[str, Parked]]:
        return self._sink.parked(shards)

    def reset(self, shard: int, expected: Fence | None, new: Fence) -> bool:
        return self._sink.reset(shard, expected, new)

    def snapshot(self, shard: int) -> Snapshot:
        return self._sink.snapshot(shard)

    def drop(self) -> None:
        self._sink.drop()
