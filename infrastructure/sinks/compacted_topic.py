"""A sink whose states are also published to a compacted topic, consistently across crashes.

A write has three steps: the compare-and-set in the sink, the record on the topic, and the published checkpoint. A crash
in between leaves the checkpoint behind the fence, and the next worker of the shard publishes what changed since.
Publishing twice is harmless: a record is a complete state with its position, and readers keep the highest position.

Two workers of one shard (one of them a zombie) may publish an older state after a newer one, and compaction would keep
the older one. Therefore a checkpoint moves only by compare-and-set: the workers conflict there, the checkpoint is
deleted, and the whole shard is published again. That holds if the zombie lives until it moves the checkpoint. If it
crashes right after its record, the topic shows an older state of that key until the key's next event.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from infrastructure.sinks.decorators import SinkDecorator
from infrastructure.sinks.published_checkpoints import CheckpointMove, PublishedCheckpoint, PublishedCheckpointStore
from infrastructure.sinks.topic_publisher import PublishedRecords, SynchronousPublisher
from projections.core.ports import ApplyOutcome, EventLog, Fence, ShardWrite, Sink

log = logging.getLogger("ridelog.publication")

READ_EVENTS = 5_000
MAX_EVENTS = 50_000
"""Above this, publishing the whole shard is less work than reading its events."""


def full_publish_reason(checkpoint: PublishedCheckpoint | None, now: PublishedCheckpoint) -> str | None:
    """Why the whole shard must be published.

    None if the checkpoint is an earlier state of the same generation, log and topic as ``now``.
    """
    if checkpoint is None:
        return "the shard was never published completely, or two publishers conflicted"
    if checkpoint.topic != now.topic:
        return "the topic was recreated"
    if checkpoint.generation != now.generation:
        return f"the topic shows generation {checkpoint.generation}"
    if (checkpoint.fence.log_id, checkpoint.fence.incarnation) != (now.fence.log_id, now.fence.incarnation):
        return "the shard was refolded or a key was unparked"
    return "the shard was set back" if checkpoint.fence.seq > now.fence.seq else None


def changed_keys(log: EventLog, stream: str, shard: int, after: int, upto: int) -> list[str] | None:
    """Keys whose published value is out of date: those with an event in (``after``, ``upto``].

    None if there are more than MAX_EVENTS events, or the log does not have all of them.
    """
    if upto - after > MAX_EVENTS:
        return None
    keys: dict[str, None] = {}
    while after < upto:
        events = log.read_shard(stream, shard, after, min(READ_EVENTS, upto - after))
        if not events:
            return None
        keys.update((event.key, None) for event in events)
        after = events[-1].seq
    return list(keys)


def keys_of_other_generations(
    log_port: EventLog,
    stream: str,
    shard: int,
    checkpoint: PublishedCheckpoint | None,
    now: PublishedCheckpoint,
    sink_of: Callable[[int], Sink],
) -> set[str]:
    """Keys that other generations may have published: the generation that the topic shows, and both neighbours.

    Without a checkpoint, two publishers conflicted, and their generations are neighbours. If the generation that the
    topic shows was dropped, its keys come from the log: all with an event up to ``now``. Raises PortUnavailable.
    """
    shows = checkpoint.generation if checkpoint is not None and checkpoint.topic == now.topic else now.generation
    keys: set[str] = set()
    for generation in {shows, now.generation - 1, now.generation + 1} - {0, now.generation}:
        dump = sink_of(generation).dump(shard)
        keys.update(dump.states)
        if generation == shows and dump.fence is None:
            keys |= _every_key(log_port, stream, shard, now.fence.seq)
    return keys


def _every_key(log_port: EventLog, stream: str, shard: int, upto: int) -> set[str]:
    keys: set[str] = set()
    after = 0
    while after < upto and (events := log_port.read_shard(stream, shard, after, min(READ_EVENTS, upto - after))):
        if after == 0 and events[0].seq > 1:
            log.warning(
                "the first events of %s shard %d were detached: a key that occurs only in them stays on the topic, if "
                "the new generation does not have it; delete the topic, it is recreated and filled",
                stream,
                shard,
            )
        keys.update(event.key for event in events)
        after = events[-1].seq
    return keys


S = TypeVar("S")

LOAD_KEYS = 1_000
"""Keys whose states are loaded from the sink at once."""


class PublishingGeneration(NamedTuple):
    """The generation whose states a sink publishes, as long as ``is_active`` says that readers follow it."""

    stream: str
    number: int
    is_active: Callable[[], bool]


class CompactedTopic(NamedTuple, Generic[S]):
    """The topic, as its sink uses it: what its records are, how they are sent, and how far it shows each shard."""

    records: PublishedRecords[S]
    publisher: SynchronousPublisher
    checkpoints: PublishedCheckpointStore


class CompactedTopicSink(SinkDecorator, Generic[S]):
    """Publishes the states that the wrapped sink has applied. Only the active generation publishes. One thread uses it.

    ``sink_of``: the sink of another generation, whose keys may be on the topic but not in this generation.

    Raises PortUnavailable also when the topic's broker is unavailable: the shards wait, and nothing is lost. ``drop``
    keeps the published checkpoints: other generations share them, and the next one detects by them that it must publish
    everything.
    """

    def __init__(
        self,
        sink: Sink,
        generation: PublishingGeneration,
        topic: CompactedTopic[S],
        *,
        log_port: EventLog,
        sink_of: Callable[[int], Sink],
    ) -> None:
        super().__init__(sink)
        self._stream = generation.stream
        self._generation = generation.number
        self._active = generation.is_active
        self._log = log_port
        self._records = topic.records
        self._publisher = topic.publisher
        self._checkpoints = topic.checkpoints
        self._sink_of = sink_of
        self._topic = ""
        """The identity that the broker last reported; empty before the first request."""
        self._shown: dict[int, PublishedCheckpoint | None] = {}
        """Checkpoints as this worker saved them, of shards that the topic shows completely; None for an empty shard."""

    def fences(self, shards: Sequence[int]) -> list[Fence | None]:
        """Return the fences, and publish the states of these shards that the topic does not show."""
        fences = self._sink.fences(shards)
        if self._publishes() and shards:
            self._catch_up(dict(zip(shards, fences, strict=True)))
        return fences

    def apply(self, writes: Sequence[ShardWrite]) -> list[ApplyOutcome]:
        done = self._sink.apply(writes)
        if not self._publishes() or not self._topic:
            # Activated a moment ago: the next ``fences`` publishes the whole shard.
            return done
        won = [write for write, outcome in zip(writes, done, strict=True) if outcome is ApplyOutcome.APPLIED]
        self._publisher.publish(
            record for write in won for record in self._records.to_records(write.shard, write.states)
        )
        self._move_checkpoints(
            {
                write.shard: CheckpointMove(
                    self._shown[write.shard], PublishedCheckpoint(self._generation, write.new, self._topic)
                )
                for write in won
                if self._is_shown(write.shard, write.expected)
            }
        )
        return done

    def promote(self, shard: int, expected: Fence, refolded: Fence) -> bool:
        """Promote the refolded shard in the sink and on the topic.

        A refolded key may end below its published position, and readers keep the highest position. Such a key gets a
        tombstone, followed by its new state. Unchanged keys are not published.
        """
        if not self._publishes():
            return self._sink.promote(shard, expected, refolded)
        served, refold = self._sink.dump(shard), self._sink.staging().dump(shard)
        if (served.fence, refold.fence) != (expected, refolded):
            # Another worker has promoted the shard: the refold area is empty, and every key would seem deleted.
            return False
        was_shown = self._topic != "" and self._is_shown(shard, expected)
        # Without a checkpoint the whole shard is published again, also if the promotion fails or never happens. Delete
        # it once more after the promotion, in case another worker has published the shard and saved one meanwhile.
        self._shown.pop(shard, None)
        self._checkpoints.forget([shard])
        self._publisher.publish(self._records.replacing(shard, served.states, refold.states))
        done = self._sink.promote(shard, expected, refolded)
        self._checkpoints.forget([shard])
        if done and was_shown:
            self._move_checkpoints(
                {shard: CheckpointMove(None, PublishedCheckpoint(self._generation, refolded, self._topic))}
            )
        return done

    def close(self) -> None:
        """Close the connection to the broker."""
        self._publisher.close()

    def _publishes(self) -> bool:
        if self._active():
            return True
        # What this worker knew of the topic is out of date: another generation publishes there now.
        self._topic = ""
        self._shown.clear()
        return False

    def _catch_up(self, fences: Mapping[int, Fence | None]) -> None:
        topic = self._publisher.identity()
        if topic != self._topic:
            # The broker may have forgotten the producer that published to the old topic.
            self._publisher.close()
            self._topic = topic
        checkpoints = self._checkpoints.read(list(fences))
        for shard, fence in fences.items():
            self._shown.pop(shard, None)
            checkpoint = checkpoints.get(shard)
            if fence is None:
                if checkpoint is None:
                    self._shown[shard] = None
                continue
            now = PublishedCheckpoint(self._generation, fence, topic)
            if checkpoint == now:
                self._shown[shard] = checkpoint
            else:
                self._publish_unshown(shard, checkpoint, now)

    def _publish_unshown(self, shard: int, checkpoint: PublishedCheckpoint | None, now: PublishedCheckpoint) -> None:
        why = full_publish_reason(checkpoint, now)
        keys = None
        if checkpoint is not None and why is None:
            keys = changed_keys(self._log, self._stream, shard, checkpoint.fence.seq, now.fence.seq)
            why = f"published up to seq {checkpoint.fence.seq} of {now.fence.seq}"
        # States may be newer than the fence by now; then they are published once more than necessary.
        if keys is None:
            published = self._publish_all(shard, checkpoint, now)
        else:
            parts = [keys[first : first + LOAD_KEYS] for first in range(0, len(keys), LOAD_KEYS)]
            loaded = (self._sink.load({shard: part}).get(shard, {}) for part in parts)
            published = self._publisher.publish(
                record for states in loaded for record in self._records.to_records(shard, states)
            )
        log.info("published again", extra={"stream": self._stream, "shard": shard, "records": published, "why": why})
        self._move_checkpoints({shard: CheckpointMove(checkpoint, now)})

    def _publish_all(self, shard: int, checkpoint: PublishedCheckpoint | None, now: PublishedCheckpoint) -> int:
        """Publish the whole shard. Returns the number of records.

        Readers keep the highest position, so a tombstone comes first for every key that another generation may show and
        this one does not show as of its latest event: one that its fold leaves out, or one that is parked here.
        """
        dump = self._sink.dump(shard)
        records = list(self._records.to_records(shard, dump.states))
        current = {record.key.decode() for record in records} - dump.parked.keys()
        others = keys_of_other_generations(self._log, self._stream, shard, checkpoint, now, self._sink_of)
        tombstones = self._records.tombstones(shard, sorted(others - current), now.fence.position)
        return self._publisher.publish([*tombstones, *records])

    def _is_shown(self, shard: int, fence: Fence | None) -> bool:
        """Whether the topic shows the shard as it was at ``fence``; if not, the next ``fences`` publishes it."""
        if shard not in self._shown:
            return False
        checkpoint = self._shown[shard]
        return (None if checkpoint is None else checkpoint.fence) == fence

    def _move_checkpoints(self, moves: Mapping[int, CheckpointMove]) -> None:
        lost = []
        for shard, won in self._checkpoints.move(moves).items():
            if won:
                self._shown[shard] = moves[shard].new
            else:
                lost.append(shard)
                self._shown.pop(shard, None)
        if lost:
            log.warning("another worker published to the same shards; they are published again completely: %s", lost)
            self._checkpoints.forget(lost)
