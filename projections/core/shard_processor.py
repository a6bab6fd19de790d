"""The open shards of one worker in one generation: checks fences, fills gaps from the log, and writes batches."""

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
    """Counts of a worker since it started, for metrics and status."""

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
    """Event time of the newest event that was folded."""


CHUNK_POSITIONS = 20_000
"""Positions that a catch-up reads at once. Bounds the memory, and what has to be folded again after a crash."""


@dataclass(frozen=True)
class ProcessorLimits:
    """Batch sizes and cache sizes of one worker (invariant 15)."""

    poll_records: int = 5_000
    fill_events: int = 5_000
    cached_states_per_shard: int = 2_000
    snapshot_interval: int = SNAPSHOT_INTERVAL
    chunk_positions: int = CHUNK_POSITIONS


class ShardProcessor(Generic[S]):
    """Maps open shards to their states. After any exception, call ``forget`` and open the shards again."""

    def __init__(
        self,
        projection: Projection[S],
        log_port: EventLog,
        sink: Sink,
        decode: Decode,
        limits: ProcessorLimits,
        on_fence_mismatch: Callable[[FenceMismatch], None] = lambda mismatch: None,
    ) -> None:
        """``on_fence_mismatch`` is called before a fence that does not match the log is replaced."""
        self._projection = projection
        self._on_fence_mismatch = on_fence_mismatch
        self._log = log_port
        self._sink = sink
        self._decode = decode
        self._limits = limits
        self._is_staging = False
        """Whether ``sink`` is a staging area: a shard that does not match is reset there instead of refolded."""
        self._writer = ShardWriter(
            projection, sink, decode, limits.cached_states_per_shard, snapshot_interval=limits.snapshot_interval
        )
        self.states: dict[int, ShardState[S]] = {}
        self.refolds: Refolds[S] = Refolds(self)
        """Shards whose fences do not match the log: their served content stays unchanged until it is promoted."""
        self.lost: set[int] = set()
        """Shards that were closed, for example after a lost compare-and-set. The caller opens them again."""
        self.counters = ShardCounters()

    def forget(self) -> None:
        """Close all shards: after an error, nothing that was read before is valid."""
        self.release([*self.states, *self.refolds.shards(), *self.lost])

    def release(self, shards: Sequence[int]) -> None:
        """Stop all work on ``shards``."""
        for shard in shards:
            self.states.pop(shard, None)
            self.lost.discard(shard)
        self.refolds.release(shards)

    def open(self, shards: Sequence[int]) -> LogHead | None:
        """Read the fences of ``shards`` and check them against the log. Returns the log head used, None without shards.

        A shard whose fence does not match is not open afterwards, but in ``refolds``.
        """
        if not shards:
            return None
        self.release(shards)
        # Read the fences first: any later change moves the fence, and the next compare-and-set fails.
        stored = self._sink.fences(shards)
        parked = self._sink.parked(shards)
        fences = dict(zip(shards, stored, strict=True))
        check = check_fences(self._log, self._projection.stream, fences)
        if (mismatch := fence_mismatch(check, fences)) is not None:
            self._on_fence_mismatch(mismatch)
        self._writer.discarded = self._log.discarded(self._projection.name)
        for shard, fence in fences.items():
            status = check.statuses[shard]
            if fence is not None and status is FenceStatus.GOOD:
                self.states[shard] = ShardState(fence, fence, parked.get(shard))
            elif self._is_staging:
                self._start(shard, fence, check.head.log_id)
            elif fence is None:
                self.states[shard] = ShardState(_start_of(check.head.log_id), None)
            else:
                self._start_refold(shard, fence, status, check.head.seqs[shard])
        self._abandon(sorted(self.states.keys() & fences.keys()))
        return check.head

    def _start_refold(self, shard: int, fence: Fence, status: FenceStatus, target: int) -> None:
        log.error(
            "the fence does not match the log; the shard is refolded from the log in the staging area",
            extra={"projection": self._projection.name, "shard": shard, "why": status.value, "fence": str(fence)},
        )
        self.refolds.add(shard, Refolding(fence, target))

    def _start(self, shard: int, fence: Fence | None, log_id: UUID) -> None:
        """Start a shard of a staging area, and delete its content."""
        start = _start_of(log_id)
        self.counters.resets += 1
        if not self._sink.reset(shard, fence, start):
            self._close(shard, "another worker started to refold the shard at the same time")
            return
        # Read again: a sink may start a shard from verified snapshots.
        stored = self._sink.fences([shard])[0]
        if stored is None:
            self._close(shard, "another worker ended the refold of the shard at the same time")
            return
        self.states[shard] = ShardState(stored, stored, self._sink.parked([shard]).get(shard))

    def _abandon(self, shards: Sequence[int]) -> None:
        """Delete refolds that were started and are no longer needed, because the fence matches the log after all."""
        if self._is_staging or not shards:
            return
        fences = self._sink.staging().fences(shards)
        started = [shard for shard, fence in zip(shards, fences, strict=True) if fence is not None]
        if started:
            self._sink.abandon(started)

    def staging(self) -> ShardProcessor[S]:
        """A processor for the staging area of the same shards, with the same counters and without open shards."""
        staging = ShardProcessor(self._projection, self._log, self._sink.staging(), self._decode, self._limits)
        staging._is_staging = True
        staging.counters = self.counters
        return staging

    def promote(self, shard: int, expected: Fence, state: ShardState[S]) -> bool:
        """Promote a refolded shard, open it and catch up with the log. False if another worker was faster."""
        if not self._sink.promote(shard, expected, state.fence):
            return False
        self.states[shard] = ShardState(state.fence, state.fence, state.parked)
        self.fill(shard, self._log.head(self._projection.stream).seqs[shard])
        return True

    def fences(self) -> dict[int, Fence]:
        """The fences of the shards; of a shard that is refolded, the fence of the staging area."""
        return self.refolds.fences() | {shard: state.fence for shard, state in self.states.items()}

    def mismatched(self, shards: Sequence[int]) -> list[int]:
        """Those of the open ``shards`` that no longer match the log. The caller opens them again."""
        fences = {shard: self.states[shard].stored for shard in shards}
        return list(check_fences(self._log, self._projection.stream, fences).mismatched) if shards else []

    def apply(self, by_shard: Mapping[int, Sequence[LoggedEvent]]) -> None:
        """Apply the ready events of all shards in one round trip; repeat until no shard has a gap."""
        pending = self._without_rewritten(by_shard)
        while pending:
            ready: dict[int, Sequence[LoggedEvent]] = {}
            blocked: dict[int, Sequence[LoggedEvent]] = {}
            for shard, events in pending.items():
                part = split_at_gap(self.states[shard].fence.seq, events)
                self.counters.duplicates += part.duplicates
                if part.conflicts:
                    self._close(shard, "two records with the same seq are different events")
                    continue
                if part.ready:
                    ready[shard] = part.ready
                if part.gap is not None:
                    blocked[shard] = [part.gap, *part.rest]
            written = self._write(ready)
            pending = {}
            for shard, events in blocked.items():
                self.counters.gaps += 1
                if shard not in ready or shard in written:
                    # If the events are not visible yet (read from a standby), the gap remains; an idle check fills it.
                    self.fill(shard, events[0].seq - 1)
                    state = self.states.get(shard)
                    if state is not None and state.fence.seq >= events[0].seq - 1:
                        pending[shard] = events

    def _without_rewritten(self, by_shard: Mapping[int, Sequence[LoggedEvent]]) -> dict[int, Sequence[LoggedEvent]]:
        """Remove the shards whose fences do not match the log, and close them.

        A restored log republishes old records, so its first symptom is a duplicate, which arrives before any record
        that could be taken for the next one. Every duplicate therefore triggers a fence check.
        """
        fences = {shard: self.states[shard].fence.seq for shard in by_shard}
        repeated = [shard for shard, events in by_shard.items() if any(e.seq <= fences[shard] for e in events)]
        for shard in self.mismatched(repeated):
            self._close(shard, "a duplicate record arrived, and the fence does not match the log")
        return {shard: events for shard, events in by_shard.items() if shard in self.states}

    def fill(self, shard: int, upto: int) -> None:
        """Fold the events of ``shard`` from the log, up to seq ``upto`` and no further."""
        while (state := self.states.get(shard)) is not None and state.fence.seq < upto:
            limit = min(self._limits.fill_events, upto - state.fence.seq)
            # With the event at the fence: the log may have been restored since that was checked.
            events = self._log.read_shard(self._projection.stream, shard, max(0, state.fence.seq - 1), limit + 1)
            if _rewritten(state.fence, events):
                self._close(shard, "the log has another event at the fence now")
                return
            events = [event for event in events if state.fence.seq < event.seq <= upto]
            part = split_at_gap(state.fence.seq, events)
            if not part.ready:
                return
            if shard in self._write({shard: part.ready}):
                self.counters.filled += len(part.ready)

    def _write(self, ready: Mapping[int, Sequence[LoggedEvent]]) -> set[int]:
        """Fold and store. Returns the shards that were written; the others are closed, see ``lost``."""
        before = {shard: self.states[shard].fence.seq for shard in ready}
        written = self._writer.write(self.states, ready)
        self.counters.event_time_ms = max(self.counters.event_time_ms, written.newest_ms)
        self.counters.parked += written.parked
        for shard in ready:
            fence = self.states[shard].fence
            # Count by the fence, not by the batch: a batch that was split may have been written in part.
            self.counters.applied += fence.seq - before[shard]
            self.counters.position = max(self.counters.position, fence.position)
        for shard in written.lost:
            # Another worker owns the shard, or a zombie does: discard the state, and reread the fence at the next step.
            self.counters.lost_races += 1
            self._close(shard, "another worker moved the fence first")
        return written.won

    def _close(self, shard: int, why: str) -> None:
        """Close a shard. The caller opens it again, with a new fence check."""
        log.warning("%s", why, extra={"projection": self._projection.name, "shard": shard})
        self.states.pop(shard, None)
        self.lost.add(shard)


def _rewritten(fence: Fence, events: Sequence[LoggedEvent]) -> bool:
    """Whether ``events``, read from the fence on, start with another event than the one at the fence."""
    return bool(fence.event and events and events[0].seq == fence.seq and digest_of(events[0]) != fence.event)


def _start_of(log_id: UUID) -> Fence:
    return Fence(str(log_id), uuid4().hex, 0, 0)
