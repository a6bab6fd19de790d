"""Follows one stream for one generation: Kafka announces new events, the event store is the authority.

A batch is polled, grouped by shard, and split at the first gap (``fences.split_at_gap``). Gaps are filled from the log.
The events are folded, and each shard is stored by one compare-and-set. The fence detects records that were lost,
duplicated or reordered on the way (invariant 4).
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
    LoggedEvent,
    LogHead,
    RecordConsumer,
    Sink,
    SinkRejected,
)
from projections.core.projection import Projection
from projections.core.records import ForeignRecord, logged_event
from projections.core.shard_processor import ProcessorLimits, ShardProcessor

__all__ = ["ProcessorLimits", "StreamFollower"]

S = TypeVar("S")

log = logging.getLogger("ridelog.projections")


class StreamFollower(Generic[S]):
    """Call ``step`` in a loop. After any error every shard resumes from its fence."""

    def __init__(
        self,
        projection: Projection[S],
        *,
        log_port: EventLog,
        consumer: RecordConsumer,
        sink: Sink,
        decode: Decode,
        partitions: int,
        limits: ProcessorLimits | None = None,
        on_fence_mismatch: Callable[[FenceMismatch], None] = lambda mismatch: None,
    ) -> None:
        """``on_fence_mismatch`` is called for fences that do not match the log, before their shards are refolded."""
        self._projection = projection
        self._log = log_port
        self._consumer = consumer
        self._sink = sink
        self._partitions = partitions
        self._limits = limits or ProcessorLimits()
        self._shards = ShardProcessor(projection, log_port, sink, decode, self._limits, on_fence_mismatch)
        self._reach = HeadReach(log_port, projection.stream)
        self._epochs: dict[int, int] = {}
        self._next_offsets: dict[int, int] = {}
        self._polled_all = True
        self.counters = self._shards.counters

    def step(self, timeout_s: float) -> int:
        """Poll once and apply the records. Returns the number of events applied.

        Raises PortUnavailable if a server is unavailable; no event is lost.
        """
        before = self.counters.applied
        records: Sequence[ConsumerRecord] = ()
        try:
            records = self._consumer.poll(self._limits.poll_records, 0 if self._shards.refolds else timeout_s)
            self._polled_all = len(records) < self._limits.poll_records
            fresh = self._follow_assignment()
            self._apply(records, fresh)
            self._shards.refolds.step()
        except SinkRejected as error:
            if not records:
                self.forget()
                raise
            self._skip(records, error)
        except BaseException:
            self.forget()
            raise
        for record in records:
            self._next_offsets[record.partition] = record.offset + 1
        return self.counters.applied - before

    def _apply(self, records: Sequence[ConsumerRecord], fresh: Collection[int]) -> None:
        self._reach.on_poll()
        by_shard = self._by_shard(records, fresh)
        early = self._reach.reached()
        self._shards.apply(by_shard)
        self._count_foreign(early.foreign, "the log has another event at that position, or ends before it")
        for shard, seq in early.due.items():
            self._shards.fill(shard, seq)

    def _skip(self, records: Sequence[ConsumerRecord], error: SinkRejected) -> None:
        """A server rejects a number or text of these records: skip them, and read their events from the log.

        Otherwise one such record would stop all shards permanently, because every restart polls it again.
        """
        log.error(
            "record skipped, one of %d; the log is read instead: %s",
            len(records),
            error,
            extra={"projection": self._projection.name},
        )
        self.counters.foreign += len(records)
        self.forget()

    def _count_foreign(self, count: int, why: str) -> None:
        """Log one line per poll, however many foreign records a flood contains."""
        if count:
            self.counters.foreign += count
            log.error("record skipped, one of %d: %s", count, why, extra={"projection": self._projection.name})

    def idle_check(self) -> int:
        """Check shards that do not move. Call it every few seconds.

        A lost *last* record leaves no gap. A sink that was emptied or rewound, and a log that was restored under a
        running worker, have no symptom in the records at all.
        """
        before = self.counters.applied
        try:
            self._check_sink()
            self._open(self._shards.mismatched(list(self._shards.states)))
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
                "fences have changed since they were written; reading them again",
                extra={"projection": self._projection.name, "shards": len(moved)},
            )
            self._open(moved)

    def _check_head(self) -> None:
        head = self._log.head(self._projection.stream)
        self._reach.on_idle_check(head)
        for shard, state in list(self._shards.states.items()):
            # While more records wait on the topic than one poll returns, an idle shard may only be waiting for its
            # turn. To read all of these shards from the log, one by one, would delay a late worker further.
            behind = self._polled_all and state.fence.seq < head.seqs[shard]
            if behind and state.seen_idle_at == state.fence.seq:
                self._shards.fill(shard, head.seqs[shard])
            state.seen_idle_at = state.fence.seq if behind else None

    @property
    def is_refolding(self) -> bool:
        """Whether ``step`` has work to do without new records: a shard is refolded."""
        return bool(self._shards.refolds)

    def commit(self) -> None:
        """Commit the offsets to Kafka: a hint for operators and lag tools. The fences decide."""
        if self._next_offsets:
            self._consumer.commit(self._next_offsets)
            self._next_offsets = {}

    def forget(self) -> None:
        """Discard all that was read before. The next step rereads all fences and fills from the log."""
        self._shards.forget()
        self._reach.forget()
        self._epochs.clear()
        self._next_offsets.clear()

    def lag(self, head: LogHead) -> int:
        """Number of events of this worker's shards that are recorded and not applied yet."""
        return sum(max(0, head.seqs[shard] - fence.seq) for shard, fence in self.fences().items())

    def fences(self) -> dict[int, Fence]:
        """The fences of this worker's shards; of a shard that is refolded, the staging fence."""
        return self._shards.fences()

    def shard_count(self) -> int:
        """Number of shards that this worker follows, also those that it reads again because another one moved them."""
        return len(self._shards.fences()) + len(self._shards.lost)

    def parked(self) -> int:
        """Number of keys of this worker's shards that are parked now."""
        return sum(len(state.parked) for state in self._shards.states.values())

    def _by_shard(self, records: Sequence[ConsumerRecord], fresh: Collection[int]) -> dict[int, list[LoggedEvent]]:
        by_shard: dict[int, list[LoggedEvent]] = defaultdict(list)
        foreign, why = 0, ""
        states, holds, partitions = self._shards.states, self._reach.holds, self._partitions
        for record in records:
            try:
                event = logged_event(record, partitions)
                # A partition that was revoked while its records were in flight belongs to another worker now. Records
                # of a newly assigned partition precede its end, so their events were read from the log already. On the
                # topic they may belong to another log, or to events that a restore removed, with a matching seq.
                if event.shard not in states or record.partition in fresh:
                    continue
                if holds(event):
                    by_shard[event.shard].append(event)
            except (ForeignRecord, BeyondHead) as error:
                # Not of this log, so there is nothing to apply. A damaged record of this log would leave a gap.
                foreign, why = foreign + 1, str(error)
        self._count_foreign(foreign, why)
        return by_shard

    def _follow_assignment(self) -> Collection[int]:
        """Open the shards of newly assigned partitions. Returns these partitions."""
        self._open([shard for shard in sorted(self._shards.lost) if shard % self._partitions in self._epochs])
        assignment = dict(self._consumer.assignment())
        if assignment == self._epochs:
            return ()
        known = [*self._shards.states, *self._shards.refolds.shards(), *self._shards.lost]
        self._shards.release([shard for shard in known if shard % self._partitions not in assignment])
        fresh = [p for p, epoch in assignment.items() if self._epochs.get(p) != epoch]
        # Seek first: events recorded after this arrive from Kafka; earlier ones are read from the log.
        self._consumer.seek_to_end(fresh)
        self._open([shard for shard in range(SHARDS) if shard % self._partitions in fresh])
        self._epochs = assignment
        return fresh

    def _open(self, shards: Sequence[int]) -> None:
        """Open ``shards`` and catch up with the log."""
        head = self._shards.open(shards)
        if head is not None:
            for shard in shards:
                self._shards.fill(shard, head.seqs[shard])
