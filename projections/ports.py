"""What a projection needs of the world, as small protocols: a Log to read, a Topic to follow, a Sink to write.

Adapters live in ``infrastructure``; each port has one contract suite that every adapter passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID


class PortUnavailable(Exception):
    """A server behind a port is away or was replaced: try again later, and trust nothing read before."""


class LoggedEvent(NamedTuple):
    """One event as both the event store and Kafka can give it: nothing here is known to only one of them.

    That is what makes a replay from the table and the live stream the same sequence (invariant 8).
    """

    position: int
    shard: int
    seq: int
    key: str
    version: int
    event_type: str
    payload: bytes


class Record(NamedTuple):
    """One Kafka record as polled: raw bytes, headers as a list of (name, UTF-8 text as bytes)."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class LogHead(NamedTuple):
    """The head of the log as one consistent reading: ``seqs[shard]`` is the last seq of that shard, 0 if none."""

    log_id: UUID
    position: int
    seqs: Sequence[int]


class Log(Protocol):
    """The event store, read side. What is read is committed, contiguous and in order."""

    def head(self, stream: str) -> LogHead: ...

    def read_shard(self, stream: str, shard: int, after_seq: int, limit: int) -> list[LoggedEvent]:
        """At most ``limit`` events of one shard with seq > ``after_seq``, by seq, without holes."""
        ...


class Topic(Protocol):
    """One subscribed consumer of one topic in a group. Committed offsets are only a hint: fences decide."""

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """Records in offset order within each partition; empty after ``timeout_s`` seconds without any."""
        ...

    def assignment(self) -> Mapping[int, int]:
        """Partitions held now -> the assignment's epoch, which grows whenever a partition is (re)assigned.

        A partition whose epoch changed was away, however briefly: its shards are caught up from the log.
        """
        ...

    def seek_to_end(self, partitions: Sequence[int]) -> None:
        """The next poll of these partitions starts at their end as it is when this call returns, or before."""
        ...

    def seek(self, partition: int, offset: int) -> None: ...

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Next offsets to read by partition; losing a commit costs duplicates, never events."""
        ...

    def close(self) -> None: ...


class Fence(NamedTuple):
    """What a sink has applied in one shard of one generation. ``incarnation`` changes when the sink starts empty."""

    log_id: str
    incarnation: str
    seq: int
    position: int


class ShardWrite(NamedTuple):
    """New states of one shard and the fence they bring it to, applied only if the fence is still ``expected``."""

    shard: int
    expected: Fence | None
    new: Fence
    states: Mapping[str, bytes]


class Sink(Protocol):
    """Where one generation of a projection keeps state and fences, shard by shard (invariant 4)."""

    def fences(self, shards: Sequence[int]) -> list[Fence | None]: ...

    def load(self, keys: Mapping[int, Sequence[str]]) -> dict[int, dict[str, bytes]]:
        """States of the given keys by shard; a key without state is absent."""
        ...

    def apply(self, writes: Sequence[ShardWrite]) -> list[bool]:
        """Each write is atomic; False = the fence was not ``expected``, nothing of that write was applied."""
        ...

    def reset(self, shard: int, expected: Fence | None, new: Fence) -> bool:
        """Drop all states of a distrusted shard and start it at ``new`` (seq 0), by the same compare-and-set."""
        ...
