"""A sink whose rows of one table are also published to a compacted topic, consistently across crashes.

A row is published after the sink has committed it. A crash in between leaves the checkpoint of the shard before the
row, and the next worker of the shard publishes what is missing. What the topic shows is recorded outside generations,
row by row with the digest of its value. So a rebuild publishes only what differs, and deletes from the topic what it
does not have.

A first start, a deleted topic and a switch may concern every row. One call publishes for a limited time, because the
worker's loop waits for it; the checkpoints let the next call continue.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from domain.identifiers import shard_of
from infrastructure.kafka.ports import ProducerRecord
from infrastructure.sinks.compacted_topic import PublishingGeneration
from infrastructure.sinks.decorators import SinkDecorator
from infrastructure.sinks.published_checkpoints import PublishedCheckpoint
from infrastructure.sinks.published_rows import PublishedRows, comparison_reason
from infrastructure.sinks.topic_publisher import SynchronousPublisher
from projections.core.ports import ApplyOutcome, EventLog, Fence, PortUnavailable, ShardWrite, Sink

log = logging.getLogger("ridelog.publication")

IDENTITY_INTERVAL_S = 10.0
"""How long a recreated topic may go unnoticed while nothing is published: each request opens a connection."""

PUBLISHING_BUDGET_S = 3.0
"""After this time a call starts no further step. With the longest step (two lock time-outs and a batch that is not
acknowledged, 48 s) it is shorter than ``infrastructure.observability.watchdog.END_AFTER_S``, which ends the process."""


class RowTopic(NamedTuple):
    """The topic, as its sink uses it. ``name`` is the full name; ``table``: whose rows it shows."""

    name: str
    partitions: int
    table: str
    publisher: SynchronousPublisher
    rows: PublishedRows


class RowTopicSink(SinkDecorator):
    """Publishes the rows that the wrapped sink has applied. Only the active generation publishes. One thread uses it.

    A key goes to the partition that Kafka's default partitioner gives it, so all records of a key are in one partition,
    also if another rider's fold makes the row in another generation.

    Raises PortUnavailable also when the topic's broker is unavailable: the shards wait, and nothing is lost.
    """

    def __init__(
        self,
        sink: Sink,
        generation: PublishingGeneration,
        topic: RowTopic,
        log_port: EventLog,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(sink)
        self._stream = generation.stream
        self._generation = generation.number
        self._active = generation.is_active
        self._topic = topic
        self._log = log_port
        self._clock = clock
        self._identity = ""
        """The identity that the broker last reported; empty before the first request."""
        self._identified_at = 0.0

    def fences(self, shards: Sequence[int]) -> list[Fence | None]:
        """Return the fences, and publish rows of these shards that the topic does not show, for a limited time."""
        fences = self._sink.fences(shards)
        self._topic.rows.settle()
        if shards and self._publishes():
            self._identify()
            self._catch_up({s: fence for s, fence in zip(shards, fences, strict=True) if fence is not None})
        return fences

    def apply(self, writes: Sequence[ShardWrite]) -> list[ApplyOutcome]:
        done = self._sink.apply(writes)
        if self._publishes() and self._identity:
            won = (write for write, outcome in zip(writes, done, strict=True) if outcome is ApplyOutcome.APPLIED)
            made = {w.shard: w.new for w in won if any(row.table == self._topic.table for row in w.rows)}
            if made:
                self._catch_up(made)
        # A generation that was activated a moment ago publishes at the next ``fences``.
        return done

    def close(self) -> None:
        """Close the connection to the broker."""
        self._topic.publisher.close()

    def _publishes(self) -> bool:
        if self._active():
            return True
        self._identity = ""
        return False

    def _identify(self) -> None:
        """Request the topic's identity, if the last answer is too old. Raises PortUnavailable."""
        now = self._clock()
        if self._identity and now - self._identified_at < IDENTITY_INTERVAL_S:
            return
        identity = self._topic.publisher.identity()
        if identity != self._identity:
            # The broker may have forgotten the producer that published to the old topic.
            self._topic.publisher.close()
        self._identity, self._identified_at = identity, now

    def _catch_up(self, fences: Mapping[int, Fence]) -> None:
        rows = self._topic.rows
        deadline = self._clock() + PUBLISHING_BUDGET_S
        checkpoints = rows.checkpoints(list(fences))
        compared: dict[int, str] = {}
        current: dict[int, int] = {}
        for shard, fence in fences.items():
            checkpoint = checkpoints.get(shard)
            why = comparison_reason(checkpoint, PublishedCheckpoint(self._generation, fence, self._identity))
            if checkpoint is None or why is not None:
                compared[shard] = why or ""
            else:
                current[shard] = checkpoint.fence.position
        # New rows first: they must not wait for the comparison of old ones.
        due = dict.fromkeys(sorted(rows.with_more(current)), "") | compared
        for number, (shard, why) in enumerate(due.items()):
            if number and self._clock() >= deadline:
                return
            self._publish(shard, fences[shard], why, deadline)

    def _publish(self, shard: int, fence: Fence, why: str, deadline: float) -> None:
        """Publish what the topic does not show of a shard; ``why``: the reason for comparing all of its rows."""
        now = PublishedCheckpoint(self._generation, fence, self._identity)
        is_complete = bool(why) and fence.seq >= self._log.head(self._stream).seqs[shard]
        published, is_last = 0, False
        while not is_last:
            outcome = self._topic.rows.step(shard, now, self._send, is_complete=is_complete)
            published, is_last = published + outcome.published, outcome.is_last
            if not is_last and self._clock() >= deadline:
                break
        if why:
            extra = {"stream": self._stream, "shard": shard, "records": published, "why": why, "ended": is_last}
            log.info("compared with what is published", extra=extra)
        if is_last and not outcome.is_shown:
            log.info("the topic shows rows that are not folded yet", extra={"stream": self._stream, "shard": shard})

    def _send(self, records: Sequence[tuple[str, bytes]]) -> None:
        topic = self._topic
        try:
            topic.publisher.publish(
                ProducerRecord(topic.name, shard_of(key) % topic.partitions, key.encode(), value, [])
                for key, value in records
            )
        except PortUnavailable:
            # The topic may have been deleted: the next ``fences`` requests its identity.
            self._identity = ""
            raise
