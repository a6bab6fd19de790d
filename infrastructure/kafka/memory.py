"""A Kafka of one process for unit tests: topics, groups and offsets, and the faults that a test asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from projections.ports import Record


class UnknownPartition(Exception):
    """There is no such topic or partition."""


class _Log:
    """One partition; ``start`` is the first offset that is still there."""

    def __init__(self) -> None:
        self.start = 0
        self.records: list[Record] = []

    @property
    def end(self) -> int:
        return self.start + len(self.records)


class Group:
    """A consumer group of one topic: members in the order in which they joined, and committed offsets.

    ``generation`` changes when members come or go; each learns of it at its next poll, as with Kafka, and holds on to
    what it had until then.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.members: list[object] = []
        self.committed: dict[int, int] = {}

    def join(self, member: object) -> None:
        self.members.append(member)
        self.generation += 1

    def leave(self, member: object) -> None:
        self.members.remove(member)
        self.generation += 1

    def share(self, member: object, partitions: int) -> list[int]:
        """The partitions of ``member``: a contiguous range each."""
        count, index = len(self.members), self.members.index(member)
        return list(range(index * partitions // count, (index + 1) * partitions // count))


class MemoryBroker:
    """Holds the logs; ``MemoryPublisher`` and ``MemoryTopic`` are its clients. For one thread."""

    def __init__(self) -> None:
        self._topics: dict[str, list[_Log]] = {}
        self._groups: dict[tuple[str, str], Group] = {}

    def create_topic(self, name: str, partitions: int) -> None:
        """A new, empty topic; one of that name is lost."""
        self._topics[name] = [_Log() for _ in range(partitions)]

    def wipe(self, name: str) -> None:
        """The topic is empty again and its groups are forgotten, as after a restart without a log."""
        self.create_topic(name, self.partitions(name))
        for (topic, _), group in self._groups.items():
            if topic == name:
                group.committed.clear()
                group.generation += 1

    def truncate(self, name: str, partition: int, before: int) -> None:
        """Forget the records with offsets below ``before``, as retention does."""
        log = self._log(name, partition)
        drop = max(0, min(before, log.end) - log.start)
        del log.records[:drop]
        log.start += drop

    def partitions(self, name: str) -> int:
        """Raises UnknownPartition if there is no such topic."""
        if name not in self._topics:
            raise UnknownPartition(name)
        return len(self._topics[name])

    def append(
        self, name: str, partition: int, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]] = ()
    ) -> int:
        """The offset of the new record. Raises UnknownPartition."""
        log = self._log(name, partition)
        log.records.append(Record(name, partition, log.end, key, value, list(headers)))
        return log.end - 1

    def read(self, name: str, partition: int, offset: int, limit: int) -> list[Record]:
        """Records from ``offset`` on, or from the start of the log if there is no such offset (any more)."""
        log = self._log(name, partition)
        if not log.start <= offset <= log.end:
            offset = log.start
        return log.records[offset - log.start : offset - log.start + limit]

    def ends(self, name: str) -> Mapping[int, int]:
        """Partition -> the offset that its next record gets."""
        return {partition: log.end for partition, log in enumerate(self._topics[name])}

    def records(self, name: str) -> list[Record]:
        """All records that are there, partition by partition."""
        return [record for log in self._topics[name] for record in log.records]

    def group(self, topic: str, name: str) -> Group:
        """Made on first use."""
        return self._groups.setdefault((topic, name), Group())

    def _log(self, name: str, partition: int) -> _Log:
        if partition >= self.partitions(name):
            raise UnknownPartition(f"{name}[{partition}]")
        return self._topics[name][partition]
