"""Whether fences lie on the log as it is now: onto what is not of it, nothing is folded (invariant 14)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from projections.fences import Trust, judge
from projections.ports import Fence, Log, LogHead
from projections.records import MAX_NUMBER


class Judged(NamedTuple):
    """``trust`` by shard, and the head that the fences were judged by."""

    head: LogHead
    trust: Mapping[int, Trust]

    @property
    def distrusted(self) -> dict[int, Trust]:
        """Shards whose content is not of this log."""
        return {shard: trust for shard, trust in self.trust.items() if trust not in (Trust.NEW, Trust.GOOD)}


class Distrust(NamedTuple):
    """What a worker has found, once for all shards that it opened together.

    ``beyond``: the highest position of a fence that is not of this log; ``head``: where the log ended then.
    """

    shards: int
    why: Trust
    beyond: int
    head: int


def look(log: Log, stream: str, fences: Mapping[int, Fence | None]) -> Judged:
    """Judge fences that were read just now. Raises PortUnavailable.

    The log is asked only for positions up to its head: a stored fence may hold any number, and one that Postgres cannot
    hold would make every look fail.
    """
    head = log.head(stream)
    asked = [f.position for f in fences.values() if f is not None and f.event and 0 < f.position <= head.position]
    found = log.events_at(asked)
    return Judged(
        head,
        {
            shard: judge(fence, shard, head, None if fence is None else found.get(fence.position))
            for shard, fence in fences.items()
        },
    )


def distrust(judged: Judged, fences: Mapping[int, Fence | None]) -> Distrust | None:
    """In one value what is wrong with ``fences``; None if nothing is."""
    bad = judged.distrusted
    if not bad:
        return None
    # Bounded, because it is put on record in a column of int64.
    beyond = max(min(fence.position, MAX_NUMBER) for shard in bad if (fence := fences[shard]) is not None)
    return Distrust(len(bad), next(iter(bad.values())), beyond, judged.head.position)
