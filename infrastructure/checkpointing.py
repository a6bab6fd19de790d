"""A sink that hands on the checkpoints which lie on the way of what it applies."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from projections.checkpoints import Checkpoints
from projections.ports import Fence, Parked, PortUnavailable, ShardWrite, Sink, Snapshot

log = logging.getLogger("ridelog.projections")


class CheckpointingSink:
    """``projections.ports.Sink`` around another one. Only what has won its compare-and-set is kept.

    What dies between the two leaves a checkpoint out, which whoever replays across it makes up for. So does a store of
    checkpoints that is away: it must not hold up serving, whose own store is well.
    """

    def __init__(self, sink: Sink, checkpoints: Checkpoints) -> None:
        self._sink = sink
        self._checkpoints = checkpoints

    def apply(self, writes: Sequence[ShardWrite]) -> list[bool]:
        done = self._sink.apply(writes)
        made = [one for write, won in zip(writes, done, strict=True) if won for one in write.checkpoints]
        if made:
            try:
                self._checkpoints.keep(made, verified=False)
            except PortUnavailable as error:
                log.warning("%d checkpoints are left out, a replay will make up for them: %s", len(made), error)
        return done

    def fences(self, shards: Sequence[int]) -> list[Fence | None]:
        return self._sink.fences(shards)

    def load(self, keys: Mapping[int, Sequence[str]]) -> dict[int, dict[str, bytes]]:
        return self._sink.load(keys)

    def parked(self, shards: Sequence[int]) -> dict[int, dict[str, Parked]]:
        return self._sink.parked(shards)

    def reset(self, shard: int, expected: Fence | None, new: Fence) -> bool:
        return self._sink.reset(shard, expected, new)

    def snapshot(self, shard: int) -> Snapshot:
        return self._sink.snapshot(shard)

    def drop(self) -> None:
        self._sink.drop()
