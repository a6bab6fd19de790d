"""A consumer whose records are pushed by an engine: Flink reads Kafka, and hands over the batches of one partition."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from infrastructure.kafka.partition_assignment import Assignment
from projections.core.ports import ConsumerRecord

END_CHECK_INTERVAL_S = 2.0
"""Bounds how long the records of a recreated topic are taken for those of the old one, whose end was further."""

Ends = Callable[[Sequence[int]], Mapping[int, int]]
"""Returns the end offsets of partitions. Raises PortUnavailable."""


class PushedConsumer:
    """``projections.core.ports.RecordConsumer`` of one subtask.

    A partition is assigned by its first batch, and never revoked: Flink moves partitions only by starting new
    subtasks. There is no seek in Flink's source, so ``seek_to_end`` notes the end, and drops the records before it.
    """

    def __init__(self, ends: Ends, clock: Callable[[], float] = time.monotonic) -> None:
        self._ends = ends
        self._clock = clock
        self._assignment = Assignment()
        self._pending: list[ConsumerRecord] = []
        self._starts: dict[int, int] = {}
        self._checked_at: dict[int, float] = {}

    def push(self, partition: int, records: Sequence[ConsumerRecord]) -> None:
        """Queue the next records of ``partition`` for ``poll``; none for a heartbeat. Raises PortUnavailable."""
        if partition not in self._assignment.epochs:
            self._assignment.assigned([partition])
        for record in records:
            self._assignment.read(partition, record.offset)
        start = self._starts.get(partition, 0)
        wanted = [record for record in records if record.offset >= start]
        if records and not wanted:
            self._check_end(partition, start)
        self._pending += wanted

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
        """All records that were pushed since the last call. It never waits, and returns more than ``max_records``."""
        records, self._pending = self._pending, []
        return records

    def assignment(self) -> Mapping[int, int]:
        return self._assignment.epochs

    def seek_to_end(self, partitions: Sequence[int]) -> None:
        if not partitions:
            return
        for partition, end in self._ends(partitions).items():
            self.seek(partition, end)

    def seek(self, partition: int, offset: int) -> None:
        self._starts[partition] = offset
        self._checked_at[partition] = self._clock()
        self._assignment.sought(partition)

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Do nothing: Flink commits the offsets of its checkpoints."""

    def close(self) -> None:
        """Discard what was pushed."""
        self._pending = []

    def _check_end(self, partition: int, start: int) -> None:
        """Assign the partition again if its end is before ``start`` now: the topic was recreated meanwhile."""
        if self._clock() - self._checked_at.get(partition, 0.0) < END_CHECK_INTERVAL_S:
            return
        self._checked_at[partition] = self._clock()
        if self._ends([partition]).get(partition, start) < start:
            self._assignment.assigned([partition])
