"""A sink whose rows of one table are also published to a compacted topic, consistently across crashes.

A row is published after the sink has committed it. A crash in between leaves the checkpoint of the shard before the
row, and the next worker of the shard publishes what is missing. What the topic shows is recorded outside generations,
row by row with the digest of its value. So a rebuild publishes only what differs, and deletes from the topic what it
does not have.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from domain.identifiers import shard_of
from infrastructure.kafka.ports import ProducerRecord
from infrastructure.sinks.compacted_topic import PublishingGeneration, full_publish_reason
from infrastructure.sinks.decorators import SinkDecorator
from infrastructure.sinks.published_checkpoints import PublishedCheckpoint
from infrastructure.sinks.published_rows import PublishedRows
from infrastructure.sinks.topic_publisher import SynchronousPublisher
from projections.core.ports import ApplyOutcome, EventLog, Fence, PortUnavailable, ShardWrite, Sink

log = logging.getLogger("ridelog.publication")

IDENTITY_INTERVAL_S = 10.0
"""How long a recreated topic may go unnoticed while nothing is published: each request opens a connection."""


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
        self._unsure: dict[int, PublishedCheckpoint | None] = {}
        """Shards whose last step failed, with their checkpoints before it: records of it may come late."""

    def fences(self, shards: Sequence[int]) -> list[Fence | None]:
        """Return the fences, and publish the rows of these shards that the topic does not show."""
        fences = self._sink.fences(shards)
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
        checkpoints = rows.checkpoints(list(fences))
        overtaken = [shard for shard in fences if self._is_overtaken(shard, checkpoints.get(shard))]
        if overtaken:
            log.warning("another worker published to these shards; they are published again completely: %s", overtaken)
            rows.forget(overtaken)
            checkpoints = {shard: found for shard, found in checkpoints.items() if shard not in overtaken}
        current: dict[int, int] = {}
        for shard, fence in fences.items():
            now = PublishedCheckpoint(self._generation, fence, self._identity)
            checkpoint = checkpoints.get(shard)
            why = full_publish_reason(checkpoint, now)
            if checkpoint is None or why is not None:
                self._publish(shard, checkpoint, now, why or "")
            else:
                current[shard] = checkpoint.fence.position
        for shard in sorted(rows.with_more(current)):
            now = PublishedCheckpoint(self._generation, fences[shard], self._identity)
            self._publish(shard, checkpoints[shard], now, "")

    def _is_overtaken(self, shard: int, checkpoint: PublishedCheckpoint | None) -> bool:
        """Whether another worker has published since a failed step of this one, whose older records may come after."""
        return shard in self._unsure and self._unsure[shard] != checkpoint

    def _publish(self, shard: int, checkpoint: PublishedCheckpoint | None, now: PublishedCheckpoint, why: str) -> None:
        """Publish what the topic does not show of a shard; ``why``: the reason for comparing all of its rows."""
        rows = self._topic.rows
        is_complete = bool(why) and now.fence.seq >= self._log.head(self._stream).seqs[shard]
        published, after, is_first = 0, None, True
        self._unsure[shard] = checkpoint
        while is_first or after is not None:
            outcome = rows.step(shard, now, after, self._send, is_complete=is_complete)
            self._unsure[shard] = outcome.checkpoint
            published, after, is_first = published + outcome.published, outcome.after, False
        del self._unsure[shard]
        if why:
            extra = {"stream": self._stream, "shard": shard, "records": published, "why": why}
            log.info("compared with what is published", extra=extra)
        if not outcome.is_shown:
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
