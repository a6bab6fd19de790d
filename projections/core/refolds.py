"""Refolds shards whose fences do not match the log: from the log into the staging area, then promoted in one step.

Readers see the old states until the promotion. After a crash the refold resumes from the fence of the staging area. Two
workers that refold the same shard compete by compare-and-set on that fence, as in the served area.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from projections.core.ports import Fence, FenceConflict

if TYPE_CHECKING:
    from projections.core.shard_processor import ShardProcessor

S = TypeVar("S")

MAX_EVENTS_PER_STEP = 20_000
"""Events that are refolded between two polls, over all shards. Bounds the delay of the healthy shards."""


_EMPTY_FENCE = Fence("", "", 0, 0)


class Refolding(NamedTuple):
    """``expected``: the served fence that does not match the log. ``target``: the seq at which to promote the refold.

    The target is the head of the log at the fence check: so no answer after the promotion is older than an answer of
    before it that came from this log.
    """

    expected: Fence
    target: int


class Refolds(Generic[S]):
    """The refolds of one worker."""

    def __init__(self, served: ShardProcessor[S]) -> None:
        self._served = served
        self._staging: ShardProcessor[S] | None = None
        self._refolding: dict[int, Refolding] = {}
        self._stuck: set[int] = set()

    def __bool__(self) -> bool:
        """Whether ``step`` has work to do."""
        return bool(self._refolding)

    def add(self, shard: int, refolding: Refolding) -> None:
        """Start the refold of a shard at the next ``step``."""
        self._refolding[shard] = refolding

    def shards(self) -> list[int]:
        """Shards that are being refolded or are stuck."""
        return [*self._refolding, *self._stuck]

    def stuck(self) -> list[int]:
        """Shards for which the log returned fewer events than its head promises: reopen them at the next idle check."""
        return sorted(self._stuck)

    def fences(self) -> dict[int, Fence]:
        """The staging fences of the refolds; a shard that has not started has applied no event of this log."""
        started = {} if self._staging is None else {s: state.fence for s, state in self._staging.states.items()}
        return {shard: started.get(shard, _EMPTY_FENCE) for shard in self.shards()}

    def release(self, shards: Sequence[int]) -> None:
        """Stop the refolds of ``shards``."""
        for shard in shards:
            self._refolding.pop(shard, None)
            self._stuck.discard(shard)
        if self._staging is not None:
            self._staging.release(shards)

    def step(self) -> None:
        """Fold at most MAX_EVENTS_PER_STEP events, and promote the shards that are complete.

        A shard that another worker refolds or has promoted is in ``ShardProcessor.lost`` afterwards.
        Raises PortUnavailable, BrokenFold.
        """
        if not self._refolding:
            return
        if self._staging is None:
            self._staging = self._served.staging()
        staging, left = self._staging, MAX_EVENTS_PER_STEP
        staging.open([shard for shard in self._refolding if shard not in staging.states])
        for shard in list(self._refolding):
            before = self._served.counters.applied
            self._refold(staging, shard, left)
            left -= self._served.counters.applied - before
            if left <= 0:
                return

    def _refold(self, staging: ShardProcessor[S], shard: int, max_events: int) -> None:
        expected, target = self._refolding[shard]
        state = staging.states.get(shard)
        if state is None:
            return self._reopen(shard)
        # A state from a snapshot may be ahead of the fence: it must not be served before the fence reaches it.
        target = max([target, *(ahead.seq for ahead in state.ahead.values())])
        before = state.fence.seq
        staging.fill(shard, min(target, before + max_events))
        if shard not in staging.states:
            return self._reopen(shard)
        if state.fence.seq >= target:
            self.release([shard])
            if not self._served.promote(shard, expected, state):
                self._reopen(shard)
        elif state.fence.seq == before:
            self.release([shard])
            self._stuck.add(shard)
        return None

    def _reopen(self, shard: int) -> None:
        """Reopen the shard by its served fence: another worker may have promoted it."""
        self.release([shard])
        self._served.lost.add(shard)

    def finish(self) -> None:
        """Refold all shards to the end, for a caller without other work to interleave.

        Raises FenceConflict if another worker refolds the same shards, or if the log lacks events below its head.
        """
        while self._refolding:
            self.step()
        if self._stuck or self._served.lost:
            shards = sorted({*self._stuck, *self._served.lost})
            raise FenceConflict(
                f"shards {shards} could not be refolded: another worker does it too, or the log lacks some of their "
                "events"
            )
