"""The shards that one worker has open in one generation: fences judged, holes filled from the log, batches written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID, uuid4

from projections.core.fences import FenceMismatch, FenceStatus, check_fences, digest_of, fence_mismatch, split_at_gap
from projections.core.fold import Decode
from projections.core.ports import EventLog, Fence, LoggedEvent, LogHead, Sink
from projections.core.projection import Projection
from projections.core.refolds import Refolding, Refolds
from projections.core.shard_writer import ShardState, ShardWriter
from projections.core.snapshots import SNAPSHOT_INTERVAL

S = TypeVar("S")

log = logging.getLogger("ridelog.projections")


@dataclass
class ShardCounters:
    """What a worker has done since it started, for metrics and status."""

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
class ProcessorLimits:
    """Bounds of one worker (invariant 15)."""

    poll_records: int = 5_000
    fill_events: int = 5_000
    cached_states_per_shard: int = 2_000
    checkpoint_every: int = SNAPSHOT_INTERVAL


class ShardProcessor(Generic[S]):
    """A map of shards to where they stand. After any exception: ``forget``, then open them again."""

    def __init__(
        self,
        projection: Projection[S],
        log_port: EventLog,
        sink: Sink,
        decode: Decode,
        limits: ProcessorLimits,
        tell: Callable[[FenceMismatch], None] = lambda found: None,
        *,
        counters: ShardCounters | None = None,
        unread: bool = False,
    ) -> None:
        """``tell`` hears of fences that are not of this log before they are replaced.

        ``unread``: no reader sees ``sink``, so a distrusted shard is emptied there instead of refolded beside.
        """
        self._projection = projection
        self._tell = tell
        self._log = log_port
        self._sink = sink
        self._decode = decode
        self._limits = limits
        self._unread = unread
        self._writer = ShardWriter(
            projection, sink, decode, limits.cached_states_per_shard, checkpoint_every=limits.checkpoint_every
        )
        self.states: dict[int, ShardState[S]] = {}
        self.refolds: Refolds[S] = Refolds(self)
        """Distrusted shards: what is served of them stays as it is until the refold replaces it."""
        self.lost: set[int] = set()
        """Shards that were closed, as after a lost compare-and-set: to be opened again."""
        self.counters = counters or ShardCounters()

    def forget(self) -> None:
        """Trust nothing that was read before."""
        self.release([*self.states, *self.refolds.shards(), *self.lost])

    def release(self, shards: Sequence[int]) -> None:
        """Have nothing to do with ``shards`` any more."""
        for shard in shards:
            self.states.pop(shard, None)
            self.lost.discard(shard)
        self.refolds.release(shards)

    def open(self, shards: Sequence[int]) -> LogHead | None:
        """Read the fences of ``shards`` and judge them against the log; the head that they were judged by.

        A shard that is distrusted is not open afterwards but among the ``refolds``.
        """
        if not shards:
            return None
        self.release(shards)
        # The fences first: whatever changes after them changes the fence, and our next compare-and-set is lost.
        stored = self._sink.fences(shards)
        parked = self._sink.parked(shards)
        fences = dict(zip(shards, stored, strict=True))
        judged = check_fences(self._log, self._projection.stream, fences)
        if (found := fence_mismatch(judged, fences)) is not None:
            self._tell(found)
        self._writer.discarded = self._log.discarded(self._projection.name)
        for shard, fence in fences.items():
            trust = judged.trust[shard]
            if fence is not None and trust is FenceStatus.GOOD:
                self.states[shard] = ShardState(fence, fence, parked.get(shard))
            elif self._unread:
                self._begin(shard, fence, judged.head.log_id)
            elif fence is None:
                self.states[shard] = ShardState(_start_of(judged.head.log_id), None)
            else:
                self._distrust(shard, fence, trust, judged.head.seqs[shard])
        self._abandon(sorted(self.states.keys() & fences.keys()))
        return judged.head

    def _distrust(self, shard: int, fence: Fence, trust: FenceStatus, target: int) -> None:
        log.error(
            "fence distrusted, the shard is folded again from the log beside what is served",
            extra={"projection": self._projection.name, "shard": shard, "why": trust.value, "fence": str(fence)},
        )
        self.refolds.add(shard, Refolding(fence, target))

    def _begin(self, shard: int, fence: Fence | None, log_id: UUID) -> None:
        """Start a shard that no reader sees, whatever lies there."""
        start = _start_of(log_id)
        self.counters.resets += 1
        if not self._sink.reset(shard, fence, start):
            self._close(shard, "another worker began to refold the shard at the same time")
            return
        # Read again: a sink may start a shard from verified checkpoints.
        stored = self._sink.fences([shard])[0]
        if stored is None:
            self._close(shard, "another worker ended the refold of the shard at the same time")
            return
        self.states[shard] = ShardState(stored, stored, self._sink.parked([shard]).get(shard))

    def _abandon(self, shards: Sequence[int]) -> None:
        """Drop refolds that were begun and are needed no more, as of a log that was distrusted by mistake."""
        if self._unread or not shards:
            return
        fences = self._sink.beside().fences(shards)
        begun = [shard for shard, fence in zip(shards, fences, strict=True) if fence is not None]
        if begun:
            self._sink.abandon(begun)

    def beside(self) -> ShardProcessor[S]:
        """The same shards in the area beside, with the same counters; none of them is open."""
        return ShardProcessor(
            self._projection,
            self._log,
            self._sink.beside(),
            self._decode,
            self._limits,
            counters=self.counters,
            unread=True,
        )

    def promote(self, shard: int, expected: Fence, state: ShardState[S]) -> bool:
        """Serve what was folded beside, open the shard, and catch up with the log; False if the race was lost."""
        if not self._sink.promote(shard, expected, state.fence):
            return False
        self.states[shard] = ShardState(state.fence, state.fence, state.parked)
        self.fill(shard, self._log.head(self._projection.stream).seqs[shard])
        return True

    def fences(self) -> dict[int, Fence]:
        """Where the shards stand; of one that is refolded, where the area beside stands."""
        return self.refolds.fences() | {shard: state.fence for shard, state in self.states.items()}

    def distrusted(self, shards: Sequence[int]) -> list[int]:
        """Those of the open ``shards`` that are not of the log as it is now: open them anew."""
        fences = {shard: self.states[shard].stored for shard in shards}
        return list(check_fences(self._log, self._projection.stream, fences).distrusted) if shards else []

    def apply(self, by_shard: Mapping[int, Sequence[LoggedEvent]]) -> None:
        """Apply what is ready of every shard in one round trip, again until no shard has a hole left."""
        pending = self._without_rewritten(by_shard)
        while pending:
            ready: dict[int, Sequence[LoggedEvent]] = {}
            blocked: dict[int, Sequence[LoggedEvent]] = {}
            for shard, events in pending.items():
                part = split_at_gap(self.states[shard].fence.seq, events)
                self.counters.duplicates += part.duplicates
                if part.contradicts:
                    self._close(shard, "two records of one seq are not the same event")
                    continue
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
                    self.fill(shard, events[0].seq - 1)
                    state = self.states.get(shard)
                    if state is not None and state.fence.seq >= events[0].seq - 1:
                        pending[shard] = events

    def _without_rewritten(self, by_shard: Mapping[int, Sequence[LoggedEvent]]) -> dict[int, Sequence[LoggedEvent]]:
        """``by_shard`` but for shards whose fence is not of this log; those are closed.

        A log that was restored is published again from where it ends: its first sign is a duplicate, and it comes
        before the first record that would pass for the next one. So whoever sees a duplicate looks.
        """
        fences = {shard: self.states[shard].fence.seq for shard in by_shard}
        again = [shard for shard, events in by_shard.items() if any(e.seq <= fences[shard] for e in events)]
        for shard in self.distrusted(again):
            self._close(shard, "a record came again, and the fence is not of this log")
        return {shard: events for shard, events in by_shard.items() if shard in self.states}

    def fill(self, shard: int, upto: int) -> None:
        """Fold what the log has of ``shard`` up to seq ``upto``, and no further."""
        while (state := self.states.get(shard)) is not None and state.fence.seq < upto:
            limit = min(self._limits.fill_events, upto - state.fence.seq)
            # With the event at the fence: the log may have been restored since that was judged.
            events = self._log.read_shard(self._projection.stream, shard, max(0, state.fence.seq - 1), limit + 1)
            if _rewritten(state.fence, events):
                self._close(shard, "the event at the fence is another one now")
                return
            events = [event for event in events if event.seq > state.fence.seq]
            part = split_at_gap(state.fence.seq, events)
            if not part.ready:
                return
            if shard in self._write({shard: part.ready}):
                self.counters.filled += len(part.ready)

    def _write(self, ready: Mapping[int, Sequence[LoggedEvent]]) -> set[int]:
        """Fold and store; the shards whose compare-and-set was won. The others are closed: see ``lost``."""
        before = {shard: self.states[shard].fence.seq for shard in ready}
        written = self._writer.write(self.states, ready)
        self.counters.event_time_ms = max(self.counters.event_time_ms, written.newest_ms)
        self.counters.parked += written.parked
        for shard in ready:
            fence = self.states[shard].fence
            # By the fence, not by the batch: a batch that was taken apart may have been lost half-way.
            self.counters.applied += fence.seq - before[shard]
            self.counters.position = max(self.counters.position, fence.position)
        for shard in written.lost:
            # A zombie, or we are one: drop what was read, read the fence anew at the next step.
            self.counters.lost_races += 1
            self._close(shard, "another worker moved the fence first")
        return written.won

    def _close(self, shard: int, why: str) -> None:
        """To be opened again, with its fence read and judged again."""
        log.warning("%s", why, extra={"projection": self._projection.name, "shard": shard})
        self.states.pop(shard, None)
        self.lost.add(shard)


def _rewritten(fence: Fence, events: Sequence[LoggedEvent]) -> bool:
    """Whether ``events``, read from the fence on, begin with another event than the one at the fence."""
    return bool(fence.event and events and events[0].seq == fence.seq and digest_of(events[0]) != fence.event)


def _start_of(log_id: UUID) -> Fence:
    return Fence(str(log_id), uuid4().hex, 0, 0)
