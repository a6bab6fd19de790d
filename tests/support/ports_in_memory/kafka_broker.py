"""A broker in memory for unit tests: both ports of the data plane, and every damage that a real broker can do."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from infrastructure.kafka.ports import ProducerRecord
from projections.core.ports import ConsumerRecord


class UnknownPartition(Exception):
    """There is no such topic, or no such partition of it."""


class _Log:
    """One partition. Offsets go on when the beginning is cut off."""

    def __init__(self) -> None:
        self.start = 0
        self.records: list[ConsumerRecord] = []

    @property
    def end(self) -> int:
        return self.start + len(self.records)


class _Group:
    """Members of one group on one topic, in the order of joining."""

    def __init__(self) -> None:
        self.members: list[object] = []
        self.generation = 0
        self.committed: dict[int, int] = {}


class MemoryBroker:
    """Thread-safe. The flags are the test's: set them at any time.

    ``accepting = False``: the broker is unavailable. ``acknowledging = False``: records are stored, their
    acknowledgements are in flight until it is True again. ``fail_next``: the next record is rejected permanently.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.accepting = True
        self.acknowledging = True
        self._refusals: list[str] = []
        self._topics: dict[str, list[_Log]] = {}
        self._counts: dict[str, int] = {}
        self._groups: dict[tuple[str, str], _Group] = {}

    def create_topic(self, name: str, partitions: int) -> None:
        """Nothing if it exists. Consumers get their shares, unless it was wiped: then they keep what they had."""
        with self.changed:
            if name in self._topics:
                return
            self._topics[name] = [_Log() for _ in range(partitions)]
            if self._counts.get(name) != partitions:
                self._counts[name] = partitions
                self._rebalance(name)

    def wipe(self) -> None:
        """Everything is gone, as after a restart of a broker that keeps its log in memory; consumers do not notice."""
        with self.changed:
            self._topics.clear()
            for group in self._groups.values():
                group.committed.clear()

    def truncate(self, topic: str, partition: int, before: int) -> None:
        """Forget the records with offsets below ``before``, as retention does."""
        with self.changed:
            log = self._log(topic, partition)
            del log.records[: max(0, before - log.start)]
            log.start = max(log.start, before)

    def rebalance(self, topic: str) -> None:
        """Revoke all partitions of all groups and assign them again."""
        with self.changed:
            self._rebalance(topic)

    def fail_next(self, reason: str) -> None:
        """Refuse one more of the records that come from now on."""
        with self.changed:
            self._refusals.append(reason)

    def append(self, record: ProducerRecord) -> str | None:
        """Store one record; why it was refused, else None."""
        with self.changed:
            if self._refusals:
                return self._refusals.pop(0)
            try:
                log = self._log(record.topic, record.partition)
            except UnknownPartition as error:
                return str(error)
            topic, partition, key, value, headers = record
            log.records.append(ConsumerRecord(topic, partition, log.end, key, value, tuple(headers)))
            self.changed.notify_all()
            return None

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Offset of the first record, offset after the last one. Raises UnknownPartition."""
        with self.changed:
            log = self._log(topic, partition)
            return log.start, log.end

    def read(self, topic: str, partition: int, offset: int, limit: int) -> list[ConsumerRecord]:
        """At most ``limit`` records from ``offset``, from the beginning if that is out of range.

        Raises UnknownPartition.
        """
        with self.changed:
            log = self._log(topic, partition)
            first = offset - log.start if log.start <= offset <= log.end else 0
            return log.records[first : first + limit]

    def join(self, topic: str, group: str, member: object) -> None:
        """``member`` shares the topic from the next look of each member on."""
        with self.changed:
            self._group(topic, group).members.append(member)
            self._rebalance(topic, group)

    def leave(self, topic: str, group: str, member: object) -> None:
        """The others get its share; nothing if it has left before."""
        with self.changed:
            members = self._group(topic, group).members
            if member in members:
                members.remove(member)
                self._rebalance(topic, group)

    def share(self, topic: str, group: str, member: object) -> tuple[int, list[int]]:
        """The group's generation and the member's partitions in it; none of a topic that never was."""
        with self.changed:
            found = self._group(topic, group)
            if member not in found.members:
                return found.generation, []
            count, mine = len(found.members), found.members.index(member)
            return found.generation, [p for p in range(self._counts.get(topic, 0)) if p % count == mine]

    def commit(self, topic: str, group: str, offsets: Mapping[int, int]) -> None:
        with self.changed:
            self._group(topic, group).committed.update(offsets)

    def committed(self, topic: str, group: str) -> Mapping[int, int]:
        """Next offsets to read by partition."""
        with self.changed:
            return dict(self._group(topic, group).committed)

    def records(self, topic: str) -> Sequence[ConsumerRecord]:
        """All records of a topic, partition after partition."""
        with self.changed:
            return [record for log in self._topics.get(topic, ()) for record in log.records]

    def _log(self, topic: str, partition: int) -> _Log:
        logs = self._topics.get(topic, ())
        if not 0 <= partition < len(logs):
            raise UnknownPartition(f"no partition {partition} of topic {topic!r}")
        return logs[partition]

    def _group(self, topic: str, group: str) -> _Group:
        return self._groups.setdefault((topic, group), _Group())

    def _rebalance(self, topic: str, only: str | None = None) -> None:
        for (name, group), found in self._groups.items():
            if name == topic and only in {None, group}:
                found.generation += 1
        self.changed.notify_all()
