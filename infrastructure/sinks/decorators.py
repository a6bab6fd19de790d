"""A sink that is another one, but for what a subclass does besides."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from projections.core.ports import (
    ApplyOutcome,
    Fence,
    ParkedEvent,
    PortUnavailable,
    ShardDump,
    ShardWrite,
    Sink,
    SinkRejected,
)
from projections.core.projection import Projection
from projections.core.snapshots import ReplayStart, StateSnapshots, StoredSnapshot
from projections.core.state_codec import read_snapshot


class SinkDecorator:
    """``projections.core.ports.Sink``: every call is that of the sink within."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def apply(self, writes: Sequence[ShardWrite]) -> list[ApplyOutcome]:
        return self._sink.apply(writes)

    def fences(self, shards: Sequence[int]) -> list[Fence | None]:
        return self._sink.fences(shards)

    def load(self, keys: Mapping[int, Sequence[str]]) -> dict[int, dict[str, bytes]]:
        return self._sink.load(keys)

    def parked(self, shards: Sequence[int]) -> dict[int, dict[str, ParkedEvent]]:
        return self._sink.parked(shards)

    def reset(self, shard: int, expected: Fence | None, new: Fence) -> bool:
        return self._sink.reset(shard, expected, new)

    def staging(self) -> Sink:
        return self._sink.staging()

    def promote(self, shard: int, expected: Fence, refolded: Fence) -> bool:
        return self._sink.promote(shard, expected, refolded)

    def abandon(self, shards: Sequence[int]) -> None:
        self._sink.abandon(shards)

    def snapshot(self, shard: int) -> ShardDump:
        return self._sink.snapshot(shard)

    def drop(self) -> None:
        self._sink.drop()


log = logging.getLogger("ridelog.projections")


class SnapshottingSink(SinkDecorator):
    """``projections.core.ports.Sink`` around another one. Only what has won its compare-and-set is kept.

    What dies between the two leaves a checkpoint out, which a later replay makes up for. So does a store of checkpoints
    that cannot be reached: it must not hold up serving, whose own store is well.
    """

    def __init__(self, sink: Sink, checkpoints: StateSnapshots, projection: Projection[Any]) -> None:
        super().__init__(sink)
        self._checkpoints = checkpoints
        self._projection = projection

    def staging(self) -> Sink:
        return _WithSnapshots(self._sink.staging(), self._checkpoints, self._projection)

    def apply(self, writes: Sequence[ShardWrite]) -> list[ApplyOutcome]:
        done = super().apply(writes)
        won = [write for write, outcome in zip(writes, done, strict=True) if outcome is ApplyOutcome.APPLIED]
        made = [one for write in won for one in write.snapshots]
        if made:
            try:
                self._checkpoints.save(made, verified=False)
            except (PortUnavailable, SinkRejected) as error:
                log.warning("%d checkpoints are left out, a replay will make up for them: %s", len(made), error)
        return done


class _WithSnapshots(SnapshottingSink):
    """The area beside: a refold that begins there begins from the last verified checkpoint of each key that has one."""

    def reset(self, shard: int, expected: Fence | None, new: Fence) -> bool:
        if not super().reset(shard, expected, new):
            return False
        try:
            starts = [one for one in self._checkpoints.starts(shard) if self._is_readable(one)]
            if starts:
                # Another incarnation: a worker that has read the empty shard must not fold these keys from nothing.
                begun = new._replace(incarnation=uuid4().hex)
                marks = {one.key: _ahead(one) for one in starts}
                self._sink.apply([ShardWrite(shard, new, begun, {one.key: one.state for one in starts}, parked=marks)])
        except (PortUnavailable, SinkRejected) as error:
            log.warning("the refold of shard %d begins from the first event: %s", shard, error)
        return True

    def _is_readable(self, one: ReplayStart) -> bool:
        kept = StoredSnapshot(one.version, one.position, one.state, verified=True)
        return read_snapshot(self._projection, one.key, kept) is not None


def _ahead(one: ReplayStart) -> ParkedEvent:
    return ParkedEvent(one.seq, one.position, one.version, "", "ahead", "its state comes from a verified checkpoint", 0)


class TimedSink(SinkDecorator):
    """``projections.core.ports.Sink`` that tells the seconds of each ``apply``, also of one that failed."""

    def __init__(self, sink: Sink, seconds: Callable[[float], None]) -> None:
        super().__init__(sink)
        self._seconds = seconds

    def apply(self, writes: Sequence[ShardWrite]) -> list[ApplyOutcome]:
        began = time.perf_counter()
        try:
            return super().apply(writes)
        finally:
            self._seconds(time.perf_counter() - began)
