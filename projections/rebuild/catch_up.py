"""Fills shards of a generation from the event store, in the order of the log: what a rebuild and a replay run on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from projections.core.fold import Decode
from projections.core.ports import EventLog, LoggedEvent, LogHead, Sink
from projections.core.projection import Projection
from projections.core.shard_processor import ProcessorLimits, ShardProcessor

S = TypeVar("S")

CHUNK_POSITIONS = 20_000
"""Positions that are read at once: bounds memory, and what a killed filler has to fold again."""


class CatchUp(Generic[S]):
    """One worker's shards. Its checkpoints are the fences in the sink: begun again, it goes on where they stand."""

    def __init__(
        self,
        projection: Projection[S],
        log_port: EventLog,
        sink: Sink,
        decode: Decode,
        shards: Sequence[int],
        limits: ProcessorLimits | None = None,
        *,
        chunk_positions: int = CHUNK_POSITIONS,
    ) -> None:
        self._projection = projection
        self._chunk_positions = chunk_positions
        self._log = log_port
        self._mine = shards
        self._shards = ShardProcessor(projection, log_port, sink, decode, limits or ProcessorLimits())
        self._targets: dict[int, int] = {}
        self._head: LogHead | None = None
        self._at = 0
        self.counters = self._shards.counters

    def open(self, targets: Mapping[int, int] | None = None) -> LogHead:
        """Read the fences. ``targets``: the seq to fill each shard to; a shard not named, to the head as it is now."""
        self._shards.forget()
        head = self._shards.open(self._mine)
        assert head is not None, "a filler has at least one shard"
        self._shards.refolds.finish()
        wanted = {shard: head.seqs[shard] for shard in self._mine}
        if targets is not None:
            wanted |= {shard: min(targets[shard], wanted[shard]) for shard in self._mine if shard in targets}
        self._targets, self._head = wanted, head
        self._at = self._start()
        return head

    def step(self) -> bool:
        """Apply the next chunk; False once every shard stands at its target.

        A shard whose compare-and-set was lost to another worker is read anew and goes on from there.
        """
        if self._shards.lost:
            self._shards.open(sorted(self._shards.lost))
            self._shards.refolds.finish()
            self._at = self._start()
        left = self._left()
        if not left:
            return bool(self._shards.lost)
        assert self._head is not None, "open() comes first"
        upto = min(self._at + self._chunk_positions, self._head.position)
        if upto <= self._at:
            raise LogHasHoles(f"shards {self._left()} have fewer events in the log than its head says")
        by_shard: dict[int, list[LoggedEvent]] = defaultdict(list)
        for event in self._log.read_positions(self._projection.stream, left, self._at, upto):
            if event.seq <= self._targets[event.shard]:
                by_shard[event.shard].append(event)
        self._shards.apply(by_shard)
        self._at = upto
        return True

    def run(self, targets: Mapping[int, int] | None = None) -> None:
        """Fill to the targets."""
        self.open(targets)
        while self.step():
            pass

    def seqs(self) -> dict[int, int]:
        """Where the shards stand."""
        return {shard: state.fence.seq for shard, state in self._shards.states.items()}

    def _is_behind(self, shard: int) -> bool:
        state = self._shards.states.get(shard)
        return state is not None and state.fence.seq < self._targets[shard]

    def _left(self) -> list[int]:
        return [shard for shard in self._mine if self._is_behind(shard)]

    def _start(self) -> int:
        """The lowest position from which something is missing."""
        assert self._head is not None, "open() comes first"
        return min((self._shards.states[shard].fence.position for shard in self._left()), default=self._head.position)


class LogHasHoles(Exception):
    """The event store does not hold what its head has given out: invariant 1 is broken, and nobody can fold on."""
