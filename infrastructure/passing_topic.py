"""A topic that is another one, but for what a subclass does besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from projections.ports import Record, Topic


class PassingTopic:
    """``projections.ports.Topic``: every call is that of the topic within."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
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
