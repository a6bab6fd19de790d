"""Sink decorators: the base class, one that stores state snapshots and refolds from them, and one that measures."""

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
    """Base class for sink decorators: forwards every call of ``Sink`` to the wrapped sink."""

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

    def count_parked(self) -> int:
        return self._sink.count_parked()

    def page_parked(self, after: str | None, limit: int) -> list[tuple[str, ParkedEvent]]:
        return self._sink.page_parked(after, limit)

    def reset(self, shard: int, expected: Fence | None, new: Fence) -> bool:
        return self._sink.reset(shard, expected, new)

    def staging(self) -> Sink:
        return self._sink.staging()

    def promote(self, shard: int, expected: Fence, refolded: Fence) -> bool:
        return self._sink.promote(shard, expected, refolded)

    def abandon(self, shards: Sequence[int]) -> None:
        self._sink.abandon(shards)

    def dump(self, shard: int) -> ShardDump:
        return self._sink.dump(shard)

    def drop(self) -> None:
        self._sink.drop()


log = logging.getLogger("ridelog.projections")


class SnapshottingSink(SinkDecorator):
    """Stores the state snapshots of each write that wins its compare-and-set.

    A crash between the two writes loses one snapshot; the next replay recreates it. If the snapshot store is
    unavailable, snapshots are dropped so that serving continues.
    """

    def __init__(self, sink: Sink, checkpoints: StateSnapshots, projection: Projection[Any]) -> None:
        super().__init__(sink)
        self._checkpoints = checkpoints
        self._projection = projection

    def staging(self) -> Sink:
        return _SnapshottingRefoldArea(self._sink.staging(), self._checkpoints, self._projection)

    def apply(self, writes: Sequence[ShardWrite]) -> list[ApplyOutcome]:
        done = super().apply(writes)
        won = [write for write, outcome in zip(writes, done, strict=True) if outcome is ApplyOutcome.APPLIED]
        made = [one for write in won for one in write.snapshots]
        if made:
            try:
                self._checkpoints.save(made, verified=False)
            except (PortUnavailable, SinkRejected) as error:
                log.warning("%d state snapshots are not stored, the next replay recreates them: %s", len(made), error)
        return done


class _SnapshottingRefoldArea(SnapshottingSink):
    """The refold area: a refold starts from the last verified snapshot of each key that has one."""

    def reset(self, shard: int, expected: Fence | None, new: Fence) -> bool:
        if not super().reset(shard, expected, new):
            return False
        try:
            starts = [one for one in self._checkpoints.starts(shard) if self._is_readable(one)]
            if starts:
                # A new incarnation: a worker that has read the empty shard must not fold these keys from the start.
                started = new._replace(incarnation=uuid4().hex)
                parked = {one.key: _parked_ahead(one) for one in starts}
                self._sink.apply(
                    [ShardWrite(shard, new, started, {one.key: one.state for one in starts}, parked=parked)]
                )
        except (PortUnavailable, SinkRejected) as error:
            log.warning("the refold of shard %d starts from the first event: %s", shard, error)
        return True

    def _is_readable(self, one: ReplayStart) -> bool:
        stored = StoredSnapshot(one.version, one.position, one.state, verified=True)
        return read_snapshot(self._projection, one.key, stored) is not None


def _parked_ahead(one: ReplayStart) -> ParkedEvent:
    return ParkedEvent(one.seq, one.position, one.version, "", "ahead", "its state comes from a verified snapshot", 0)


class TimedSink(SinkDecorator):
    """Measures the seconds of each ``apply``, also of one that fails."""

    def __init__(self, sink: Sink, on_seconds: Callable[[float], None]) -> None:
        super().__init__(sink)
        self._on_seconds = on_seconds

    def apply(self, writes: Sequence[ShardWrite]) -> list[ApplyOutcome]:
        started = time.perf_counter()
        try:
            return super().apply(writes)
        finally:
            self._on_seconds(time.perf_counter() - started)
