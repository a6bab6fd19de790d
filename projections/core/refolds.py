"""Distrusted shards: each is folded again from the log beside what is served, and then replaces it in one step.

Until then readers see the old states. Killed at any instant, the refold goes on where the fence beside it stands; two
workers that do it at once meet in the compare-and-sets on that fence, as they do in the first area.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from projections.core.ports import Fence, FenceConflict

if TYPE_CHECKING:
    from projections.core.shard_processor import ShardProcessor

S = TypeVar("S")

MAX_EVENTS_A_STEP = 20_000
"""Events that are refolded between two polls, over all shards: the shards that are well must stay fresh."""


_NOTHING = Fence("", "", 0, 0)


class Refolding(NamedTuple):
    """``expected``: the distrusted fence that is served; ``target``: the seq from which the refold may replace it.

    The target is the log's head when the fence was judged: so no answer after the promotion is older than one before
    it, as far as that one was of this log.
    """

    expected: Fence
    target: int


class Refolds(Generic[S]):
    """The refolds of one worker."""

    def __init__(self, served: ShardProcessor[S]) -> None:
        self._served = served
        self._beside: ShardProcessor[S] | None = None
        self._refolding: dict[int, Refolding] = {}
        self._stuck: set[int] = set()

    def __bool__(self) -> bool:
        """Whether ``step`` has something to do."""
        return bool(self._refolding)

    def add(self, shard: int, one: Refolding) -> None:
        self._refolding[shard] = one

    def shards(self) -> list[int]:
        """Those being refolded, and those that are stuck."""
        return [*self._refolding, *self._stuck]

    def stuck(self) -> list[int]:
        """Shards for which the log has fewer events than its head says: to be opened again after a while."""
        return sorted(self._stuck)

    def fences(self) -> dict[int, Fence]:
        """Where the refolds stand; a shard that has not begun has applied nothing of this log."""
        begun = {} if self._beside is None else {s: state.fence for s, state in self._beside.states.items()}
        return {shard: begun.get(shard, _NOTHING) for shard in self.shards()}

    def release(self, shards: Sequence[int]) -> None:
        """Have nothing to do with ``shards`` any more."""
        for shard in shards:
            self._refolding.pop(shard, None)
            self._stuck.discard(shard)
        if self._beside is not None:
            self._beside.release(shards)

    def step(self) -> None:
        """Fold at most MAX_EVENTS_A_STEP events, and promote the shards that are done.

        A shard that was lost to another worker, or promoted by it, is among ``ShardProcessor.lost`` afterwards.
        Raises PortUnavailable, BrokenFold.
        """
        if not self._refolding:
            return
        if self._beside is None:
            self._beside = self._served.beside()
        beside, left = self._beside, MAX_EVENTS_A_STEP
        beside.open([shard for shard in self._refolding if shard not in beside.states])
        for shard in list(self._refolding):
            before = self._served.counters.applied
            self._forward(beside, shard, left)
            left -= self._served.counters.applied - before
            if left <= 0:
                return

    def _forward(self, beside: ShardProcessor[S], shard: int, most: int) -> None:
        expected, target = self._refolding[shard]
        state = beside.states.get(shard)
        if state is None:
            return self._judge_again(shard)
        # A state that is ahead of the fence must not be served before the fence has reached it.
        target = max([target, *(mark.seq for mark in state.ahead.values())])
        before = state.fence.seq
        beside.fill(shard, min(target, before + most))
        if shard not in beside.states:
            return self._judge_again(shard)
        if state.fence.seq >= target:
            self.release([shard])
            if not self._served.promote(shard, expected, state):
                self._judge_again(shard)
        elif state.fence.seq == before:
            self.release([shard])
            self._stuck.add(shard)
        return None

    def _judge_again(self, shard: int) -> None:
        """By its served fence: another worker may have promoted it."""
        self.release([shard])
        self._served.lost.add(shard)

    def finish(self) -> None:
        """Refold to the end, where nothing else waits meanwhile.

        Raises FenceConflict when another worker was quicker, or when the log lacks what its head says.
        """
        while self._refolding:
            self.step()
        if self._stuck or self._served.lost:
            shards = sorted({*self._stuck, *self._served.lost})
            raise FenceConflict(
                f"shards {shards} could not be refolded: another worker does it too, or the log lacks some of their "
                "events"
            )
