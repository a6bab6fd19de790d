"""The rules of the fence (invariants 4 and 14). Pure, but for ``check_fences``, which reads the log.

A record is applied only if its seq is the next one. A shard whose fence does not match the log is never folded on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from hashlib import blake2b
from typing import NamedTuple

from projections.core.ports import EventLog, Fence, LoggedEvent, LogHead
from projections.core.records import MAX_NUMBER


class FenceStatus(Enum):
    """How a stored fence matches the current log."""

    NEW = "the sink has no data of this shard"
    GOOD = "the fence matches the log"
    FOREIGN = "the fence belongs to another log"
    AHEAD = "the fence is beyond the head: the log was restored to an older state"
    IMPOSSIBLE = "the fence is invalid: no log has its numbers"
    REWRITTEN = "another event is at the fence: the log was restored to an older state, and has gone on since"


def digest_of(event: LoggedEvent) -> str:
    """A digest of the position and bytes of an event, which include the time at which its ping was received.

    A restored log may give the same position and seq to another event, but not to one with the same bytes.
    """
    place = f"{event.position} {event.shard} {event.seq} {event.version} {event.key} {event.event_type} "
    return blake2b(place.encode() + event.payload, digest_size=8).hexdigest()


def classify_fence(fence: Fence | None, shard: int, head: LogHead, found: LoggedEvent | None) -> FenceStatus:
    """Compare a fence with the log. ``found`` is the event at the position of the fence, None if the log has none.

    ``head`` must be read after the fence; otherwise a fence that moves meanwhile appears to be AHEAD. An event that is
    missing below the head is in a detached partition: then only the numbers are compared.
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
    """``ready`` can be applied at once; ``gap`` is the first record after a gap, and ``rest`` follows it.

    ``conflicts``: two records of one seq are different events. One of them belongs to another log, or to an older state
    of this log; only the event store can decide which.
    """

    ready: Sequence[LoggedEvent]
    duplicates: int
    gap: LoggedEvent | None
    rest: Sequence[LoggedEvent]
    conflicts: bool = False


def split_at_gap(applied_seq: int, events: Sequence[LoggedEvent]) -> SplitBatch:
    """Split the records of one shard, in the order of arrival, at the first gap."""
    ready: list[LoggedEvent] = []
    duplicates, first = 0, applied_seq + 1
    conflicts = False
    for index, event in enumerate(events):
        if event.seq <= applied_seq:
            duplicates += 1
            conflicts = conflicts or (event.seq >= first and ready[event.seq - first] != event)
        elif event.seq == applied_seq + 1:
            ready.append(event)
            applied_seq += 1
        else:
            return SplitBatch(ready, duplicates, event, events[index + 1 :], conflicts)
    return SplitBatch(ready, duplicates, None, (), conflicts)


class FenceCheck(NamedTuple):
    """The status of each shard's fence, and the head of the log that was used for the comparison."""

    head: LogHead
    statuses: Mapping[int, FenceStatus]

    @property
    def mismatched(self) -> dict[int, FenceStatus]:
        """Shards whose fences do not match the log."""
        matching = (FenceStatus.NEW, FenceStatus.GOOD)
        return {shard: status for shard, status in self.statuses.items() if status not in matching}

    def seqs(self, fences: Mapping[int, Fence | None]) -> dict[int, int]:
        """The seqs of those of ``fences`` that match the log. A shard without a fence has none."""
        return {
            shard: fence.seq
            for shard, fence in fences.items()
            if fence is not None and self.statuses[shard] is FenceStatus.GOOD
        }


class FenceMismatch(NamedTuple):
    """Report on the fences that do not match the log, one for all shards that a worker opened together.

    ``shards``: how many. ``beyond``: the highest position of such a fence. ``head``: the head of the log at that time.
    """

    shards: int
    why: FenceStatus
    beyond: int
    head: int


def check_fences(log: EventLog, stream: str, fences: Mapping[int, Fence | None]) -> FenceCheck:
    """Compare fences with the log; read them directly before. Raises PortUnavailable.

    The log is queried only for positions up to its head: a damaged fence may hold any number, and one that Postgres
    cannot store would make every check fail.
    """
    head = log.head(stream)
    positions = [f.position for f in fences.values() if f is not None and f.event and 0 < f.position <= head.position]
    found = log.events_at(positions)
    return FenceCheck(
        head,
        {
            shard: classify_fence(fence, shard, head, None if fence is None else found.get(fence.position))
            for shard, fence in fences.items()
        },
    )


def fence_mismatch(check: FenceCheck, fences: Mapping[int, Fence | None]) -> FenceMismatch | None:
    """Summarize the mismatches of ``fences``; None if all of them match."""
    bad = check.mismatched
    if not bad:
        return None
    # Bounded, because it is stored in a column of int64.
    beyond = max(min(fence.position, MAX_NUMBER) for shard in bad if (fence := fences[shard]) is not None)
    return FenceMismatch(len(bad), next(iter(bad.values())), beyond, check.head.position)
