"""Whether fences lie on the log as it is now: onto what is not of it, nothing is folded (invariant 14)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from projections.fences import Trust, judge
from projections.ports import Fence, Log, LogHead


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
    """Judge fences that were read just now. Raises PortUnavailable."""
    found = log.events_at([fence.position for fence in fences.values() if fence is not None and fence.event])
    head = log.head(stream)
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
    beyond = max(fence.position for shard in bad if (fence := fences[shard]) is not None)
    return Distrust(len(bad), next(iter(bad.values())), beyond, judged.head.position)
