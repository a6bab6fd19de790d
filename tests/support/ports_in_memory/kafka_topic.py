"""Consuming from a broker in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from infrastructure.kafka.partition_assignment import Assignment
from projections.core.ports import ConsumerRecord, ConsumerUnusable
from tests.support.ports_in_memory.kafka_broker import MemoryBroker, UnknownPartition


class MemoryConsumer:
    """``projections.core.ports.RecordConsumer``: one member of ``group``, from the construction until ``close``.

    It hears of a rebalance at its next poll, when another member may have read its partitions already: a fence has to
    stand that.
    """

    def __init__(self, broker: MemoryBroker, topic: str, group: str) -> None:
        self._broker = broker
        self._topic = topic
        self._group = group
        self._assignment = Assignment()
        self._generation = 0
        self._positions: dict[int, int] = {}
        broker.join(topic, group, self)

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
        deadline = time.monotonic() + timeout_s
        with self._broker.changed:
            while True:
                records = self._read(max_records)
                left = deadline - time.monotonic()
                if records or left <= 0:
                    return records
                self._broker.changed.wait(left)

    def assignment(self) -> Mapping[int, int]:
        return self._assignment.epochs

    def seek_to_end(self, partitions: Sequence[int]) -> None:
        self._check_broker()
        try:
            ends = {partition: self._broker.bounds(self._topic, partition)[1] for partition in partitions}
        except UnknownPartition as error:
            raise ConsumerUnusable(str(error)) from error
        for partition, end in ends.items():
            self.seek(partition, end)

    def seek(self, partition: int, offset: int) -> None:
        if partition not in self._positions:
            raise ConsumerUnusable(f"partition {partition} of {self._topic} is not held")
        self._positions[partition] = offset
        self._assignment.sought(partition)

    def commit(self, offsets: Mapping[int, int]) -> None:
        if self._broker.accepting:
            self._broker.commit(self._topic, self._group, offsets)

    def close(self) -> None:
        self._broker.leave(self._topic, self._group, self)

    def _read(self, max_records: int) -> list[ConsumerRecord]:
        if not self._broker.accepting:
            return []
        self._follow_group()
        records: list[ConsumerRecord] = []
        for partition, position in self._positions.items():
            try:
                found = self._broker.read(self._topic, partition, position, max_records - len(records))
            except UnknownPartition:
                continue  # deleted, until the topic is recreated
            for record in found:
                self._assignment.read(partition, record.offset)
                self._positions[partition] = record.offset + 1
            records += found
        return records

    def _follow_group(self) -> None:
        generation, partitions = self._broker.share(self._topic, self._group, self)
        if generation == self._generation:
            return
        self._generation = generation
        self._assignment.revoked(self._positions)
        self._assignment.assigned(partitions)
        committed = self._broker.committed(self._topic, self._group)
        self._positions = {partition: committed.get(partition, 0) for partition in partitions}

    def _check_broker(self) -> None:
        if not self._broker.accepting:
            raise ConsumerUnusable("the broker is unavailable")
