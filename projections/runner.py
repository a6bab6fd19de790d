"""Follows one stream for one generation: Kafka says what is new, the event store says what is.

The way of a batch: poll → by shard → up to the first hole (``fences.sort_out``) → holes filled from the log → fold →
one compare-and-set a shard. Whatever is lost, doubled or reordered on the way, the fence tells (invariant 4).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID, uuid4

from domain.identifiers import SHARDS
from projections.fences import Trust, judge, sort_out
from projections.folding import Decode
from projections.ports import Fence, Log, LoggedEvent, LogHead, Parked, Record, Sink, Topic
from projections.protocol import Projection
from projections.records import ForeignRecord, logged_event
from projections.shard import ShardState
from projections.writer import ShardWriter

S = TypeVar("S")

log = logging.getLogger("ridelog.projections")


@dataclass
class Counters:
    """What a runner has done since it started, for metrics and status."""

    applied: int = 0
    duplicates: int = 0
    gaps: int = 0
    filled: int = 0
    lost_races: int = 0
    resets: int = 0
    foreign: int = 0
    parked: int = 0
    position: int = 0
    event_time_ms: int = 0
    """Event time of the newest event folded."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one worker (invariant 15)."""

    poll_records: int = 5_000
    fill_events: int = 5_000
    cached_states_per_shard: int = 2_000


class Runner(Generic[S]):
    """Drive it with ``step``; call ``forget`` after any error, then go on: every shard starts again from its fence."""

    def __init__(
        self,
        projection: Projection[S],
        *,
        log_port: Log,
        topic: Topic,
        sink: Sink,
        decode: Decode,
        partitions: int,
        limits: Limits | None = None,
    ) -> None:
        self._projection = projection
        self._log = log_port
        self._topic = topic
        self._sink = sink
        self._writer = ShardWriter(projection, sink, decode, (limits or Limits()).cached_states_per_shard)
        self._partitions = partitions
        self._limits = limits or Limits()
        self._shards: dict[int, ShardState[S]] = {}
        self._epochs: dict[int, int] = {}
        self._reopen: set[int] = set()
        self._next_offsets: dict[int, int] = {}
        self.counters = Counters()

    def step(self, timeout_s: float) -> int:
        """Poll once and apply what came; the number of events applied.

        Raises PortUnavailable when a server is away; nothing is lost by that.
        """
        before = self.counters.applied
        try:
            records = self._topic.poll(self._limits.poll_records, timeout_s)
            self._follow_assignment()
            self._apply(self._by_shard(records))
        except BaseException:
            # States folded and not stored must not be taken for stored ones.
            self.forget()
            raise
        for record in records:
            self._next_offsets[record.partition] = record.offset + 1
        return self.counters.applied - before

    def idle_check(self) -> int:
        """Look at shards that stand still; call every few seconds.

        A lost *last* record shows no gap, and a sink that was emptied or rewound shows nothing at all.
        """
        before = self.counters.applied
        try:
            self._check_sink()
            self._check_head()
        except BaseException:
            self.forget()
            raise
        return self.counters.applied - before

    def _check_sink(self) -> None:
        shards = list(self._shards)
        moved = [
            shard
            for shard, fence in zip(shards, self._sink.fences(shards), strict=True)
            if fence != self._shards[shard].stored
        ]
        if moved:
            log.warning(
                "fences are not where they were left; reading them anew",
                extra={"projection": self._projection.name, "shards": len(moved)},
            )
            self._open(moved)

    def _check_head(self) -> None:
        head = self._log.head(self._projection.stream)
        for shard, state in list(self._shards.items()):
            behind = state.fence.seq < head.seqs[shard]
            if behind and state.seen_idle_at == state.fence.seq:
                self._fill(shard, head.seqs[shard])
            state.seen_idle_at = state.fence.seq if behind else None

    def commit(self) -> None:
        """Tell Kafka how far it was read: a hint for people and lag tools, never what decides."""
        if self._next_offsets:
            self._topic.commit(self._next_offsets)
            self._next_offsets = {}

    def forget(self) -> None:
        """Trust nothing that was read before; the next step reads all fences again and fills from the log."""
        self._shards.clear()
        self._epochs.clear()
        self._reopen.clear()
        self._next_offsets.clear()

    def lag(self, head: LogHead) -> int:
        """Events of this worker's shards that are recorded and not applied yet."""
        return sum(max(0, head.seqs[shard] - state.fence.seq) for shard, state in self._shards.items())

    def shards(self) -> int:
        return len(self._shards)

    def parked(self) -> int:
        """Keys of this worker's shards that are held back now."""
        return sum(len(state.parked) for state in self._shards.values())

    def _by_shard(self, records: Sequence[Record]) -> dict[int, list[LoggedEvent]]:
        by_shard: dict[int, list[LoggedEvent]] = defaultdict(list)
        for record in records:
            try:
                event = logged_event(record)
            except ForeignRecord as error:
                # Not of this log: it has no seq to apply. Were it one of ours, damaged, its gap would show.
                self.counters.foreign += 1
                log.error("record skipped: %s", error, extra={"projection": self._projection.name})
                continue
            # A partition that was revoked while its records were on the way is somebody else's now.
            if event.shard in self._shards:
                by_shard[event.shard].append(event)
        return by_shard

    def _follow_assignment(self) -> None:
        if self._reopen:
            self._open([shard for shard in sorted(self._reopen) if shard % self._partitions in self._epochs])
            self._reopen.clear()
        assignment = dict(self._topic.assignment())
        if assignment == self._epochs:
            return
        for shard in [s for s in self._shards if s % self._partitions not in assignment]:
            del self._shards[shard]
        fresh = [p for p, epoch in assignment.items() if self._epochs.get(p) != epoch]
        # From the end first: what is recorded after this is seen in Kafka, what was before is read from the log.
        self._topic.seek_to_end(fresh)
        self._open([shard for shard in range(SHARDS) if shard % self._partitions in fresh])
        self._epochs = assignment

    def _open(self, shards: Sequence[int]) -> None:
        """Read the fences of ``shards``, judge them, and catch up with the log."""
        if not shards:
            return
        # The fences first: whatever changes after them changes the fence, and our next compare-and-set is lost.
        stored = self._sink.fences(shards)
        parked = self._sink.parked(shards)
        head = self._log.head(self._projection.stream)
        self._writer.discarded = self._log.discarded(self._projection.name)
        for shard, fence in zip(shards, stored, strict=True):
            self._shards[shard] = self._trusted(shard, fence, head, parked.get(shard, {}))
        for shard in shards:
            self._fill(shard, head.seqs[shard])

    def _trusted(self, shard: int, fence: Fence | None, head: LogHead, parked: Mapping[str, Parked]) -> ShardState[S]:
        trust = judge(fence, head.log_id, head.seqs[shard])
        if fence is not None and trust is Trust.GOOD:
            return ShardState(fence, fence, parked)
        start = _start_of(head.log_id)
        if trust is Trust.NEW:
            return ShardState(start, None)
        log.error(
            "fence distrusted, shard is folded anew from the log",
            extra={
                "projection": self._projection.name,
                "shard": shard,
                "why": trust.value,
                "fence": str(fence),
            },
        )
        self.counters.resets += 1
        if not self._sink.reset(shard, fence, start):
            raise LostRace(f"shard {shard} of {self._projection.name} was reset by another worker at the same time")
        return ShardState(start, start)

    def _apply(self, by_shard: Mapping[int, list[LoggedEvent]]) -> None:
        """Apply what is ready of every shard in one round trip, again until no shard has a hole left."""
        pending: dict[int, Sequence[LoggedEvent]] = dict(by_shard)
        while pending:
            ready: dict[int, Sequence[LoggedEvent]] = {}
            blocked: dict[int, Sequence[LoggedEvent]] = {}
            for shard, events in pending.items():
                part = sort_out(self._shards[shard].fence.seq, events)
                self.counters.duplicates += part.duplicates
                if part.ready:
                    ready[shard] = part.ready
                if part.gap is not None:
                    blocked[shard] = [part.gap, *part.rest]
            won = self._write(ready)
            pending = {}
            for shard, events in blocked.items():
                self.counters.gaps += 1
                if shard not in ready or shard in won:
                    # Not visible yet (a standby read)? Then the record stays a gap; the idle check fills it later.
                    self._fill(shard, events[0].seq - 1)
                    state = self._shards.get(shard)
                    if state is not None and state.fence.seq >= events[0].seq - 1:
                        pending[shard] = events

    def _fill(self, shard: int, upto: int) -> None:
        """Fold what the log has of ``shard`` up to seq ``upto``."""
        while (state := self._shards.get(shard)) is not None and state.fence.seq < upto:
            limit = min(self._limits.fill_events, upto - state.fence.seq)
            events = self._log.read_shard(self._projection.stream, shard, state.fence.seq, limit)
            part = sort_out(state.fence.seq, events)
            if not part.ready:
                return
            if shard in self._write({shard: part.ready}):
                self.counters.filled += len(part.ready)

    def _write(self, ready: Mapping[int, Sequence[LoggedEvent]]) -> set[int]:
        """Fold and store; the shards whose compare-and-set was won. The others start again from their fences."""
        written = self._writer.write(self._shards, ready)
        self.counters.event_time_ms = max(self.counters.event_time_ms, written.newest_ms)
        self.counters.parked += written.parked
        for shard in written.won:
            self.counters.applied += len(ready[shard])
            self.counters.position = max(self.counters.position, self._shards[shard].fence.position)
        for shard in written.lost:
            # A zombie, or we are one: drop what was folded, read the fence anew at the next step.
            self.counters.lost_races += 1
            log.warning(
                "another worker moved the fence first", extra={"projection": self._projection.name, "shard": shard}
            )
            del self._shards[shard]
            self._reopen.add(shard)
        return written.won


class LostRace(Exception):
    """Another worker acted on the same shard at the same time; ``forget`` and go on."""


def _start_of(log_id: UUID) -> Fence:
    return Fence(str(log_id), uuid4().hex, 0, 0)
