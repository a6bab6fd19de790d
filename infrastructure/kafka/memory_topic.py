"""The consumer of ``MemoryBroker``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from infrastructure.kafka.assignment import Assignment
from infrastructure.kafka.memory import MemoryBroker
from projections.ports import PortUnavailable, Record


class MemoryTopic:
    """``projections.ports.Topic``. Never waits: an empty poll returns at once.

    A member that is not polled keeps its partitions after others got them: a zombie, as in Kafka.
    """

    def __init__(self, broker: MemoryBroker, topic: str, group: str) -> None:
        self._broker = broker
        self._topic = topic
        self._group = broker.group(topic, group)
        self._group.join(self)
        self._generation = 0
        self._assignment = Assignment()
        self._positions: dict[int, int] = {}

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        self._rebalance()
        records: list[Record] = []
        for partition, position in self._positions.items():
            found = self._broker.read(self._topic, partition, position, max_records - len(records))
            for record in found:
                self._assignment.read(partition, record.offset)
            if found:
                self._positions[partition] = found[-1].offset + 1
                records.extend(found)
        return records

    def assignment(self) -> Mapping[int, int]:
        return self._assignment.epochs

    def seek_to_end(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            self.seek(partition, self._broker.ends(self._topic)[partition])

    def seek(self, partition: int, offset: int) -> None:
        if partition not in self._positions:
            raise PortUnavailable(f"{self._topic}[{partition}] is not held")
        self._positions[partition] = offset
        self._assignment.sought(partition)

    def commit(self, offsets: Mapping[int, int]) -> None:
        self._group.committed.update(offsets)

    def close(self) -> None:
        self._group.leave(self)

    def _rebalance(self) -> None:
        if self._generation == self._group.generation:
            return
        self._generation = self._group.generation
        self._assignment.revoked(list(self._positions))
        held = self._group.share(self, self._broker.partitions(self._topic))
        self._positions = {partition: self._group.committed.get(partition, 0) for partition in held}
        self._assignment.assigned(held)
