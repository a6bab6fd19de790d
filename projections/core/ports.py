"""The ports of a projection: an EventLog to read, a RecordConsumer to follow and a Sink to write.

Adapters are in ``infrastructure``. Each port has one contract suite that every adapter passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

from domain.features.partials import PartialSlot
from projections.core.snapshots import StateSnapshot
from read_models.rows import RowChange


class PortUnavailable(Exception):
    """A server behind a port is unavailable or was replaced: discard what was read from it, and retry later."""


class ConsumerUnusable(PortUnavailable):
    """The topic itself has changed: this consumer can no longer be used; open another one."""


class SinkRejected(Exception):
    """A healthy server rejects a value, or a number that it cannot store: a retry cannot succeed (invariant 16)."""


class FenceConflict(Exception):
    """Another worker changed the same shard at the same time: discard what was read of it, and go on."""


class LoggedEvent(NamedTuple):
    """One event, with only the fields that both store and Kafka carry: so a replay equals the stream (invariant 8)."""

    position: int
    shard: int
    seq: int
    key: str
    version: int
    event_type: str
    payload: bytes


class ConsumerRecord(NamedTuple):
    """One Kafka record as polled: raw bytes, headers as (name, UTF-8 text as bytes)."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class LogHead(NamedTuple):
    """The head of the log, read consistently: ``seqs[shard]`` is the last seq of that shard, 0 if it has none."""

    log_id: UUID
    position: int
    seqs: Sequence[int]


class EventLog(Protocol):
    """The read side of the event store. It returns committed events only, contiguous and in order."""

    def head(self, stream: str) -> LogHead: ...

    def read_shard(self, stream: str, shard: int, after_seq: int, limit: int) -> list[LoggedEvent]:
        """At most ``limit`` events of one shard with seq > ``after_seq``, by seq, without gaps."""
        ...

    def read_positions(self, stream: str, shards: Sequence[int], after: int, upto: int) -> list[LoggedEvent]:
        """Events of these shards with ``after`` < position <= ``upto``, by position (for rebuilds)."""
        ...

    def read_key(
        self, stream: str, key: str, from_version: int, upto_seq: int, limit: int | None = None
    ) -> list[LoggedEvent]:
        """The first ``limit`` events of a key with version >= ``from_version`` and seq <= ``upto_seq``, by version."""
        ...

    def discarded(self, projection: str) -> frozenset[int]:
        """Positions of the events that an operator discarded for this projection: every fold of it skips them."""
        ...

    def events_at(self, positions: Sequence[int]) -> dict[int, LoggedEvent]:
        """The events at these positions, of any stream. Absent if beyond the head or in a detached partition."""
        ...


class RecordConsumer(Protocol):
    """One consumer of one topic in a consumer group. Fences decide what was applied; committed offsets are a hint."""

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
        """Records in offset order within each partition; empty if none arrives in ``timeout_s`` seconds."""
        ...

    def assignment(self) -> Mapping[int, int]:
        """Assigned partitions -> epoch of the assignment, which grows with each (re)assignment.

        A changed epoch means that the partition was revoked meanwhile: catch its shards up from the log.
        """
        ...

    def seek_to_end(self, partitions: Sequence[int]) -> None:
        """Continue these partitions at their end as of the return of this call, or before it."""
        ...

    def seek(self, partition: int, offset: int) -> None: ...

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Commit the next offset to read by partition. A lost commit causes duplicates, never a loss of events."""
        ...

    def close(self) -> None: ...


class Fence(NamedTuple):
    """The transactional checkpoint of one shard of one generation: the last event that the sink has applied.

    ``incarnation`` changes whenever the shard changes other than by folding its next events: it was started empty, or a
    key was unparked. A worker with an older copy of the shard therefore loses its next compare-and-set.

    ``event`` is the digest of the event at ``position`` (``fences.digest_of``): a log that was restored to an older
    state gives the same numbers to other events (invariant 14). Empty at seq 0, and in fences of older versions.
    """

    log_id: str
    incarnation: str
    seq: int
    position: int
    event: str = ""


ParkedKind = Literal["decode", "fold", "refused", "ahead"]
"""Why a key is parked: a stored and public value. Not an enum, because the fold sets it for every event.

``decode``: the bytes cannot be decoded. ``fold``: the fold raised. ``refused``: the read model cannot encode the
result, or the sink's server rejects it. ``ahead`` is no failure: while a shard is refolded, the key's state comes from
a verified snapshot that includes the events up to ``version``; the fold skips these, then removes the entry.
"""


class ParkedEvent(NamedTuple):
    """The first event of a key that could not be folded. The log holds this event and all later ones of the key."""

    seq: int
    position: int
    version: int
    event_type: str
    kind: ParkedKind
    reason: str
    parked_at_ms: int


class ShardWrite(NamedTuple):
    """The step of one shard to a new fence, applied only if the fence is still ``expected``.

    ``expected`` None: the shard is new; data that it holds without a fence is deleted.

    ``states`` replace older ones; ``rows`` are merged into the read model's tables by the rule of each table;
    ``partials`` into its partial table; ``parked`` parks keys, None unparks one. ``snapshots`` are state snapshots
    before this fence. They are not part of the atomic step; a sink without a snapshot store ignores them.
    """

    shard: int
    expected: Fence | None
    new: Fence
    states: Mapping[str, bytes]
    rows: Sequence[RowChange] = ()
    parked: Mapping[str, ParkedEvent | None] = {}
    snapshots: Sequence[StateSnapshot] = ()
    partials: Mapping[int, PartialSlot] = {}


class ApplyOutcome(Enum):
    """The outcome of one write of ``Sink.apply``."""

    APPLIED = auto()  # states, rows, partials, parked events and fence were written atomically
    FENCE_CONFLICT = auto()  # the fence was not ``expected``; nothing was written: reload the shard


class ShardDump(NamedTuple):
    """A shard at one instant, with its fence. ``rows``: table and key as text -> values as text, partials included."""

    fence: Fence | None
    states: Mapping[str, bytes]
    rows: Mapping[str, bytes]
    parked: Mapping[str, ParkedEvent]


class Sink(Protocol):
    """Stores the states and fences of one generation of a projection, by shard (invariant 4).

    Every method raises PortUnavailable. ``apply`` raises SinkRejected too; then nothing is applied.

    Each shard has two areas. Readers see the served area. The staging area is empty unless the fence of the shard does
    not match the log: then the shard is refolded there, and ``promote`` replaces the served area by it.
    """

    def fences(self, shards: Sequence[int]) -> list[Fence | None]: ...

    def load(self, keys: Mapping[int, Sequence[str]]) -> dict[int, dict[str, bytes]]:
        """States of these keys by shard; a key without a state is absent."""
        ...

    def parked(self, shards: Sequence[int]) -> dict[int, dict[str, ParkedEvent]]:
        """Parked keys by shard; a shard without any may be absent. Read the fences first, then these."""
        ...

    def count_parked(self) -> int:
        """Parked keys of all shards; no entry is read."""
        ...

    def page_parked(self, after: str | None, limit: int) -> list[tuple[str, ParkedEvent]]:
        """The first ``limit`` parked keys after the key ``after``, by shard and code points; ``None``: from the start.

        At most ``limit`` events are read.
        """
        ...

    def apply(self, writes: Sequence[ShardWrite]) -> list[ApplyOutcome]:
        """Apply each write atomically by compare-and-set on its fence. Returns one outcome per write."""
        ...

    def reset(self, shard: int, expected: Fence | None, new: Fence) -> bool:
        """Delete the content of a shard and start it at ``new`` (seq 0), by the same compare-and-set.

        Only for a staging area: in the served area, keys would be missing until they are refolded.
        """
        ...

    def staging(self) -> Sink:
        """The staging area of the same shards, which no reader sees."""
        ...

    def promote(self, shard: int, expected: Fence, refolded: Fence) -> bool:
        """Replace the served area of the shard by its staging area, and empty the latter, in one atomic step.

        False if the served fence is not ``expected`` or the staged one is not ``refolded``; then nothing changes.
        """
        ...

    def abandon(self, shards: Sequence[int]) -> None:
        """Empty the staging areas of these shards."""
        ...

    def dump(self, shard: int) -> ShardDump:
        """The content of one shard, consistent with its fence under concurrent writes."""
        ...

    def drop(self) -> None:
        """Delete everything of this generation, with fences and staging areas."""
        ...
