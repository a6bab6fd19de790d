"""Fills shards of a generation from the event store, in log order. Rebuilds run on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from projections.core.fold import Decode
from projections.core.ports import EventLog, LoggedEvent, LogHead, Sink
from projections.core.projection import Projection
from projections.core.shard_processor import ProcessorLimits, ShardProcessor

S = TypeVar("S")


class CatchUp(Generic[S]):
    """Fills one worker's shards.

    The fences in the sink are its only checkpoints: after a restart it resumes from them.
    """

    def __init__(
        self,
        projection: Projection[S],
        log: EventLog,
        sink: Sink,
        decode: Decode,
        shards: Sequence[int],
        limits: ProcessorLimits | None = None,
    ) -> None:
        self._projection = projection
        limits = limits or ProcessorLimits()
        self._chunk_positions = limits.chunk_positions
        self._log = log
        self._own_shards = shards
        self._shards = ShardProcessor(projection, log, sink, decode, limits)
        self._targets: dict[int, int] = {}
        self._head: LogHead | None = None
        self._position = 0
        self.counters = self._shards.counters

    def open(self, targets: Mapping[int, int] | None = None) -> LogHead:
        """Read the fences. ``targets`` has the seq to fill each shard to; a shard without one is filled to the head."""
        self._shards.forget()
        head = self._shards.open(self._own_shards)
        assert head is not None, "at least one shard is filled"
        self._shards.refolds.finish()
        wanted = {shard: head.seqs[shard] for shard in self._own_shards}
        if targets is not None:
            wanted |= {shard: min(targets[shard], wanted[shard]) for shard in self._own_shards if shard in targets}
        self._targets, self._head = wanted, head
        self._position = self._start()
        return head

    def step(self) -> bool:
        """Apply the next chunk. Returns False once every shard has reached its target.

        A shard whose compare-and-set was lost to another worker is reloaded and resumes from there. Raises LogHasGaps.
        """
        if self._shards.lost:
            self._shards.open(sorted(self._shards.lost))
            self._shards.refolds.finish()
            self._position = self._start()
        left = self._left()
        if not left:
            return bool(self._shards.lost)
        assert self._head is not None, "open() comes first"
        upto = min(self._position + self._chunk_positions, self._head.position)
        if upto <= self._position:
            raise LogHasGaps(f"shards {self._left()} have fewer events in the log than its head says")
        by_shard: dict[int, list[LoggedEvent]] = defaultdict(list)
        for event in self._log.read_positions(self._projection.stream, left, self._position, upto):
            if event.seq <= self._targets[event.shard]:
                by_shard[event.shard].append(event)
        self._shards.apply(by_shard)
        self._position = upto
        return True

    def run(self, targets: Mapping[int, int] | None = None) -> None:
        """Fill all shards to their targets (see ``open``)."""
        self.open(targets)
        while self.step():
            pass

    def seqs(self) -> dict[int, int]:
        """The seq of each shard's fence."""
        return {shard: state.fence.seq for shard, state in self._shards.states.items()}

    def _is_behind(self, shard: int) -> bool:
        state = self._shards.states.get(shard)
        return state is not None and state.fence.seq < self._targets[shard]

    def _left(self) -> list[int]:
        return [shard for shard in self._own_shards if self._is_behind(shard)]

    def _start(self) -> int:
        """The lowest position after which a shard lacks events."""
        assert self._head is not None, "open() comes first"
        return min((self._shards.states[shard].fence.position for shard in self._left()), default=self._head.position)


class LogHasGaps(Exception):
    """The event store lacks events below its head: invariant 1 is broken, and no fold can continue."""
