"""What a projection needs of the world, as small protocols: a Log to read, a Topic to follow, a Sink to write.

Adapters live in ``infrastructure``; each port has one contract suite that every adapter passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

from domain.identifiers import MAX_ID_CODE_POINTS, shard_of
from projections.core.snapshots import StateSnapshot
from read_models.rows import RowChange


class PortUnavailable(Exception):
    """A server behind a port is away or was replaced: try again later, and trust nothing read before."""


class ConsumerUnusable(PortUnavailable):
    """It is the topic itself: this consumer is worth nothing any more, and another one must be made."""


class SinkRejected(Exception):
    """A server is well and refuses the data it was given: to try again would not help (invariant 16).

    A sink raises it for a value that does not fit; a log raises it for a number that it cannot hold.
    """


class FenceConflict(Exception):
    """Another worker acted on the same shard at the same time; forget all that was read, and go on."""


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


class ConsumerRecord(NamedTuple):
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


class EventLog(Protocol):
    """The event store, read side. What is read is committed, contiguous and in order."""

    def head(self, stream: str) -> LogHead: ...

    def read_shard(self, stream: str, shard: int, after_seq: int, limit: int) -> list[LoggedEvent]:
        """At most ``limit`` events of one shard with seq > ``after_seq``, by seq, without holes."""
        ...

    def read_positions(self, stream: str, shards: Sequence[int], after: int, upto: int) -> list[LoggedEvent]:
        """Events of these shards with ``after`` < position <= ``upto``, by position: how a rebuild reads."""
        ...

    def read_key(
        self, stream: str, key: str, from_version: int, upto_seq: int, limit: int | None = None
    ) -> list[LoggedEvent]:
        """The first ``limit`` events of a key with version >= ``from_version`` and seq <= ``upto_seq``, by version."""
        ...

    def discarded(self, projection: str) -> frozenset[int]:
        """Positions of events that a person has discarded for this projection: every fold of it passes them over."""
        ...

    def events_at(self, positions: Sequence[int]) -> dict[int, LoggedEvent]:
        """The events at these positions, of any stream. Absent: the log ends before, or its beginning was detached."""
        ...


class RecordConsumer(Protocol):
    """One subscribed consumer of one topic in a group. Committed offsets are only a hint: fences decide."""

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
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
    """What a sink has applied in one shard of one generation.

    ``incarnation`` is new whenever the shard was changed otherwise than by folding its next events: it was started
    empty, or a key was unparked. So whoever holds what was read before loses the next compare-and-set.

    ``event`` is the digest of the event at ``position`` (``fences.digest_of``): a log that was restored to an older
    state gives the same numbers to other events (invariant 14). Empty at seq 0, and in fences of older versions.
    """

    log_id: str
    incarnation: str
    seq: int
    position: int
    event: str = ""


class ParkedEvent(NamedTuple):
    """Why a key is held back: its first event that could not be folded. What follows is in the log already.

    ``kind``: its bytes cannot be decoded, the fold raised, or the result was refused: its read model cannot encode it,
    or the sink's server does not take it.

    ``ahead`` is no failure: while a shard is refolded, the key's state comes from a verified checkpoint and holds the
    events up to ``version`` already; they are passed over. The mark goes when the fold reaches that version.
    """

    seq: int
    position: int
    version: int
    event_type: str
    kind: Literal["decode", "fold", "refused", "ahead"]
    reason: str
    parked_at_ms: int


class ShardWrite(NamedTuple):
    """One shard's step to a new fence, applied only if the fence is still ``expected``.

    ``expected`` None: the shard is new, and what lies in it without a fence goes.

    ``states`` replace; ``rows`` are merged into the read model's tables by their rule (sinks without tables get none);
    ``parked`` marks keys, None takes the mark off. ``checkpoints`` lie on the way to this fence; they are no part of
    the atomic step, and a store that keeps none leaves them.
    """

    shard: int
    expected: Fence | None
    new: Fence
    states: Mapping[str, bytes]
    rows: Sequence[RowChange] = ()
    parked: Mapping[str, ParkedEvent | None] = {}
    checkpoints: Sequence[StateSnapshot] = ()


class ShardDump(NamedTuple):
    """A shard as it was at one instant, fence included. ``rows``: one text a row that names and shows it -> values."""

    fence: Fence | None
    states: Mapping[str, bytes]
    rows: Mapping[str, bytes]
    parked: Mapping[str, ParkedEvent]


class Sink(Protocol):
    """Where one generation of a projection keeps state and fences, shard by shard (invariant 4).

    Every method raises PortUnavailable when the server is away; ``apply`` raises Refused, and then nothing is applied.

    Each shard has two areas. Readers see the first one only. The second one, ``beside``, is empty unless the shard is
    distrusted: then it is folded there again from the log, and ``promote`` puts it in the place of the first.
    """

    def fences(self, shards: Sequence[int]) -> list[Fence | None]: ...

    def load(self, keys: Mapping[int, Sequence[str]]) -> dict[int, dict[str, bytes]]:
        """States of the given keys by shard; a key without state is absent."""
        ...

    def parked(self, shards: Sequence[int]) -> dict[int, dict[str, ParkedEvent]]:
        """Parked keys by shard; a shard without any may be absent. Read the fences first, then these."""
        ...

    def apply(self, writes: Sequence[ShardWrite]) -> list[bool]:
        """Each write is atomic; False = the fence was not ``expected``, nothing of that write was applied."""
        ...

    def reset(self, shard: int, expected: Fence | None, new: Fence) -> bool:
        """Drop all that a shard holds and start it at ``new`` (seq 0), by the same compare-and-set.

        Only for an area beside: in the first area, keys would be missing until they are folded again.
        """
        ...

    def beside(self) -> Sink:
        """The area of the same shards that no reader sees."""
        ...

    def promote(self, shard: int, expected: Fence, refolded: Fence) -> bool:
        """Put what lies beside the shard in its place, in one atomic step, and leave nothing beside it.

        False: the fence is not ``expected`` any more, or the one beside is not ``refolded``; nothing has changed then.
        """
        ...

    def abandon(self, shards: Sequence[int]) -> None:
        """Drop what lies beside these shards."""
        ...

    def snapshot(self, shard: int) -> ShardDump:
        """All of one shard, consistent with its fence whatever is written meanwhile."""
        ...

    def drop(self) -> None:
        """Remove everything of this generation, fences and what lies beside included."""
        ...


MAX_NUMBER = 2**63 - 1
"""Positions, seqs and versions are int64: what is larger cannot be stored, and cannot be of a log."""
MAX_DIGITS = 19
MAX_EVENT_TYPE_CHARS = 128
MAX_ERROR_CHARS = 200


class ForeignRecord(Exception):
    """A record on our topic that no tailer of ours wrote: a header is missing, or says what cannot be."""


def header_number(text: bytes) -> int:
    """A position, seq or version as it stands in a header: from 1 to MAX_NUMBER, in ASCII digits.

    Raises ValueError. The length is checked first, because to read a number of megabytes would stall the worker.
    """
    if not 0 < len(text) <= MAX_DIGITS or not text.isdigit():
        raise ValueError(f"{text[:MAX_DIGITS]!r} is no number of 1 to {MAX_DIGITS} digits")
    number = int(text)
    if not 0 < number <= MAX_NUMBER:
        raise ValueError(f"{number} is not from 1 to {MAX_NUMBER}")
    return number


def logged_event(record: ConsumerRecord, partitions: int) -> LoggedEvent:
    """The event of a record on a topic of ``partitions`` partitions.

    Raises ForeignRecord when a header is missing or out of bounds, when the key cannot be an id, and when the record is
    not in the partition of its key.
    """
    headers = dict(record.headers)
    try:
        # Every record of every projection passes here: locals, and no call for each number.
        key, event_type = record.key.decode(), headers["eventType"].decode()
        p, s, v = headers["position"], headers["seq"], headers["version"]
        # int() alone reads signs, spaces and underscores too; of more than 4,300 digits it reads nothing.
        if not (p.isdigit() and s.isdigit() and v.isdigit()):
            raise _foreign(record, "a number of its headers is not written in digits")
        position, seq, version = int(p), int(s), int(v)
    except (KeyError, ValueError, AttributeError) as error:
        raise _foreign(record, repr(error)[:MAX_ERROR_CHARS]) from error
    shard = shard_of(key)
    # Each number counts a part of what the next one counts.
    if not 0 < version <= seq <= position <= MAX_NUMBER:
        raise _foreign(record, "its version, seq and position are out of bounds, or contradict each other")
    if record.partition != shard % partitions:
        raise _foreign(record, f"its key belongs to partition {shard % partitions}")
    if not 0 < len(key) <= MAX_ID_CODE_POINTS or "\0" in key:
        raise _foreign(record, f"its key of {len(key)} characters is no id")
    if len(event_type) > MAX_EVENT_TYPE_CHARS or "\0" in event_type:
        raise _foreign(record, f"its event type has {len(event_type)} characters or a NUL")
    return LoggedEvent(position, shard, seq, key, version, event_type, record.value)


def _foreign(record: ConsumerRecord, why: str) -> ForeignRecord:
    return ForeignRecord(f"{record.topic}[{record.partition}]@{record.offset} is no record of this log: {why}")
