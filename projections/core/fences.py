"""The rule of the fence: a record is applied only if its seq is the next one (invariant 4). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from hashlib import blake2b
from typing import NamedTuple

from projections.core.ports import MAX_NUMBER, EventLog, Fence, LoggedEvent, LogHead


class FenceStatus(Enum):
    """How a stored fence stands to the log as it is now."""

    NEW = "the sink has nothing of this shard"
    GOOD = "the fence lies on this log"
    FOREIGN = "the fence belongs to another log"
    AHEAD = "the fence lies beyond the head: the log was restored to an older state"
    IMPOSSIBLE = "the fence cannot be: its numbers are of no log"
    REWRITTEN = "another event is at the fence: the log was restored to an older state, and has gone on since"


def digest_of(event: LoggedEvent) -> str:
    """By what an event is known again: its place and its bytes, which hold when its ping was received.

    A log that was restored gives the same position and seq to another event; not to another event with these bytes.
    """
    place = f"{event.position} {event.shard} {event.seq} {event.version} {event.key} {event.event_type} "
    return blake2b(place.encode() + event.payload, digest_size=8).hexdigest()


def classify_fence(fence: Fence | None, shard: int, head: LogHead, found: LoggedEvent | None) -> FenceStatus:
    """``found`` is the log's event at the fence's position, None if it has none there.

    ``head`` must have been read after the fence, or a fence that moved meanwhile looks ahead. An event that is missing
    below the head was detached: then the numbers alone decide.
    """
    if fence is None:
        return FenceStatus.NEW
    if fence.log_id != str(head.log_id):
        return FenceStatus.FOREIGN
    if not 0 <= fence.seq <= fence.position <= MAX_NUMBER:
        return FenceStatus.IMPOSSIBLE
    if fence.seq > head.seqs[shard] or fence.position > head.position:
        return FenceStatus.AHEAD
    if found is not None and fence.event and digest_of(found) != fence.event:
        return FenceStatus.REWRITTEN
    return FenceStatus.GOOD


class SplitBatch(NamedTuple):
    """``ready`` can be applied at once; ``gap`` is the first record that cannot, ``rest`` what follows it.

    ``contradicts``: two records of one seq are not the same event, so one of them is of no log, or of an older state
    of it; which one, only the event store can say.
    """

    ready: Sequence[LoggedEvent]
    duplicates: int
    gap: LoggedEvent | None
    rest: Sequence[LoggedEvent]
    contradicts: bool = False


def split_at_gap(applied_seq: int, events: Sequence[LoggedEvent]) -> SplitBatch:
    """Walk records of one shard in the order they came, up to the first hole."""
    ready: list[LoggedEvent] = []
    duplicates, first = 0, applied_seq + 1
    contradicts = False
    for index, event in enumerate(events):
        if event.seq <= applied_seq:
            duplicates += 1
            contradicts = contradicts or (event.seq >= first and ready[event.seq - first] != event)
        elif event.seq == applied_seq + 1:
            ready.append(event)
            applied_seq += 1
        else:
            return SplitBatch(ready, duplicates, event, events[index + 1 :], contradicts)
    return SplitBatch(ready, duplicates, None, (), contradicts)


class FenceCheck(NamedTuple):
    """``trust`` by shard, and the head that the fences were judged by."""

    head: LogHead
    trust: Mapping[int, FenceStatus]

    @property
    def distrusted(self) -> dict[int, FenceStatus]:
        """Shards whose content is not of this log."""
        return {shard: trust for shard, trust in self.trust.items() if trust not in (FenceStatus.NEW, FenceStatus.GOOD)}


class FenceMismatch(NamedTuple):
    """What a worker has found, once for all shards that it opened together.

    ``beyond``: the highest position of a fence that is not of this log; ``head``: where the log ended then.
    """

    shards: int
    why: FenceStatus
    beyond: int
    head: int


def check_fences(log: EventLog, stream: str, fences: Mapping[int, Fence | None]) -> FenceCheck:
    """Judge fences that were read just now. Raises PortUnavailable.

    The log is asked only for positions up to its head: a stored fence may hold any number, and one that Postgres cannot
    hold would make every look fail.
    """
    head = log.head(stream)
    asked = [f.position for f in fences.values() if f is not None and f.event and 0 < f.position <= head.position]
    found = log.events_at(asked)
    return FenceCheck(
        head,
        {
            shard: classify_fence(fence, shard, head, None if fence is None else found.get(fence.position))
            for shard, fence in fences.items()
        },
    )


def fence_mismatch(judged: FenceCheck, fences: Mapping[int, Fence | None]) -> FenceMismatch | None:
    """In one value what is wrong with ``fences``; None if nothing is."""
    bad = judged.distrusted
    if not bad:
        return None
    # Bounded, because it is put on record in a column of int64.
    beyond = max(min(fence.position, MAX_NUMBER) for shard in bad if (fence := fences[shard]) is not None)
    return FenceMismatch(len(bad), next(iter(bad.values())), beyond, judged.head.position)
