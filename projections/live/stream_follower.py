"""Follows one stream for one generation: Kafka says what is new, the event store says what is.

The way of a batch: poll → by shard → up to the first hole (``fences.sort_out``) → holes filled from the log → fold →
one compare-and-set a shard. Whatever is lost, doubled or reordered on the way, the fence tells (invariant 4).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

from domain.identifiers import SHARDS
from projections.core.fences import FenceMismatch
from projections.core.fold import Decode
from projections.core.head_reach import BeyondHead, HeadReach
from projections.core.ports import (
    ConsumerRecord,
    EventLog,
    Fence,
    ForeignRecord,
    LoggedEvent,
    LogHead,
    RecordConsumer,
    Sink,
    SinkRejected,
    logged_event,
)
from projections.core.projection import Projection
from projections.core.shard_processor import ProcessorLimits, ShardProcessor

__all__ = ["ProcessorLimits", "StreamFollower"]

S = TypeVar("S")

log = logging.getLogger("ridelog.projections")


class StreamFollower(Generic[S]):
    """Drive it with ``step``; after any error every shard starts again from its fence."""

    def __init__(
        self,
        projection: Projection[S],
        *,
        log_port: EventLog,
        topic: RecordConsumer,
        sink: Sink,
        decode: Decode,
        partitions: int,
        limits: ProcessorLimits | None = None,
        tell: Callable[[FenceMismatch], None] = lambda found: None,
    ) -> None:
        """``tell`` hears of fences that are not of this log, before their shards are folded anew."""
        self._projection = projection
        self._log = log_port
        self._topic = topic
        self._sink = sink
        self._partitions = partitions
        self._limits = limits or ProcessorLimits()
        self._shards = ShardProcessor(projection, log_port, sink, decode, self._limits, tell)
        self._reach = HeadReach(log_port, projection.stream)
        self._epochs: dict[int, int] = {}
        self._next_offsets: dict[int, int] = {}
        self._polled_all = True
        self.counters = self._shards.counters

    def step(self, timeout_s: float) -> int:
        """Poll once and apply what came; the number of events applied.

        Raises PortUnavailable when a server is away; nothing is lost by that.
        """
        before = self.counters.applied
        records: Sequence[ConsumerRecord] = ()
        try:
            records = self._topic.poll(self._limits.poll_records, 0 if self._shards.refolds else timeout_s)
            self._polled_all = len(records) < self._limits.poll_records
            fresh = self._follow_assignment()
            self._apply(records, fresh)
            self._shards.refolds.step()
        except SinkRejected as error:
            if not records:
                self.forget()
                raise
            self._pass_over(records, error)
        except BaseException:
            self.forget()
            raise
        for record in records:
            self._next_offsets[record.partition] = record.offset + 1
        return self.counters.applied - before

    def _apply(self, records: Sequence[ConsumerRecord], fresh: Collection[int]) -> None:
        self._reach.polled()
        by_shard = self._by_shard(records, fresh)
        came = self._reach.reached()
        self._shards.apply(by_shard)
        self._count_foreign(came.foreign, "the log has another event there, or does not reach it")
        for shard, seq in came.due.items():
            self._shards.fill(shard, seq)

    def _pass_over(self, records: Sequence[ConsumerRecord], error: SinkRejected) -> None:
        """A server refuses a number or a text of these records: what is true of them is read from the log.

        Without this, one such record would stop all shards for ever, because it would be polled in every life.
        """
        log.error(
            "record skipped, one of %d, and the log is read instead: %s",
            len(records),
            error,
            extra={"projection": self._projection.name},
        )
        self.counters.foreign += len(records)
        self.forget()

    def _count_foreign(self, count: int, why: str) -> None:
        """One line a poll, however many records a flood brings."""
        if count:
            self.counters.foreign += count
            log.error("record skipped, one of %d: %s", count, why, extra={"projection": self._projection.name})

    def idle_check(self) -> int:
        """Look at shards that stand still; call every few seconds.

        A lost *last* record shows no gap, a sink that was emptied or rewound shows nothing at all, and neither does a
        log that was restored beneath a worker that lives on.
        """
        before = self.counters.applied
        try:
            self._check_sink()
            self._open(self._shards.distrusted(list(self._shards.states)))
            self._open(self._shards.refolds.stuck())
            self._shards.refolds.step()
            self._check_head()
        except BaseException:
            self.forget()
            raise
        return self.counters.applied - before

    def _check_sink(self) -> None:
        shards = list(self._shards.states)
        moved = [
            shard
            for shard, fence in zip(shards, self._sink.fences(shards), strict=True)
            if fence != self._shards.states[shard].stored
        ]
        if moved:
            log.warning(
                "fences are not where they were left; reading them anew",
                extra={"projection": self._projection.name, "shards": len(moved)},
            )
            self._open(moved)

    def _check_head(self) -> None:
        head = self._log.head(self._projection.stream)
        self._reach.seen(head)
        for shard, state in list(self._shards.states.items()):
            # While more waits on the topic than is polled at once, a shard that stands still may just not have had its
            # turn: read from the log, one by one, all of them would make a late worker later.
            behind = self._polled_all and state.fence.seq < head.seqs[shard]
            if behind and state.seen_idle_at == state.fence.seq:
                self._shards.fill(shard, head.seqs[shard])
            state.seen_idle_at = state.fence.seq if behind else None

    def commit(self) -> None:
        """Tell Kafka how far it was read: a hint for people and lag tools, never what decides."""
        if self._next_offsets:
            self._topic.commit(self._next_offsets)
            self._next_offsets = {}

    def forget(self) -> None:
        """Trust nothing that was read before; the next step reads all fences again and fills from the log."""
        self._shards.forget()
        self._reach.forget()
        self._epochs.clear()
        self._next_offsets.clear()

    def lag(self, head: LogHead) -> int:
        """Events of this worker's shards that are recorded and not applied yet."""
        return sum(max(0, head.seqs[shard] - fence.seq) for shard, fence in self.fences().items())

    def fences(self) -> dict[int, Fence]:
        """Where this worker's shards stand; of one that is refolded, where the refold stands."""
        return self._shards.fences()

    def parked(self) -> int:
        """Keys of this worker's shards that are held back now."""
        return sum(len(state.parked) for state in self._shards.states.values())

    def _by_shard(self, records: Sequence[ConsumerRecord], fresh: Collection[int]) -> dict[int, list[LoggedEvent]]:
        by_shard: dict[int, list[LoggedEvent]] = defaultdict(list)
        foreign, why = 0, ""
        for record in records:
            try:
                event = logged_event(record, self._partitions)
                # A partition that was revoked while its records were on the way belongs to another worker now. What
                # was polled of a fresh one lies before its end, so it has been read from the log; on the topic it may
                # be another log's, or what a restore has taken back, and its seq would fit just as well.
                if event.shard not in self._shards.states or record.partition in fresh:
                    continue
                if self._reach.holds(event):
                    by_shard[event.shard].append(event)
            except (ForeignRecord, BeyondHead) as error:
                # Not of this log: it has no seq to apply. Were it one of ours, damaged, its gap would show.
                foreign, why = foreign + 1, str(error)
        self._count_foreign(foreign, why)
        return by_shard

    def _follow_assignment(self) -> Collection[int]:
        """Open what was assigned since the last call; those partitions."""
        self._open([shard for shard in sorted(self._shards.lost) if shard % self._partitions in self._epochs])
        assignment = dict(self._topic.assignment())
        if assignment == self._epochs:
            return ()
        held = [*self._shards.states, *self._shards.refolds.shards(), *self._shards.lost]
        self._shards.release([shard for shard in held if shard % self._partitions not in assignment])
        fresh = [p for p, epoch in assignment.items() if self._epochs.get(p) != epoch]
        # From the end first: what is recorded after this is seen in Kafka, what was before is read from the log.
        self._topic.seek_to_end(fresh)
        self._open([shard for shard in range(SHARDS) if shard % self._partitions in fresh])
        self._epochs = assignment
        return fresh

    def _open(self, shards: Sequence[int]) -> None:
        """Open ``shards`` and catch up with the log."""
        head = self._shards.open(shards)
        if head is not None:
            for shard in shards:
                self._shards.fill(shard, head.seqs[shard])
