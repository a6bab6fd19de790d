"""A sink whose states are also on a compacted topic, whatever dies between the two.

The compare-and-set comes first, then the record, then the checkpoint of what the topic shows. What dies in between
leaves a
checkpoint behind the fence, and whoever opens the shard next publishes what changed since. Published twice is
harmless: a
record is a whole state and carries its position, and readers keep the highest.

Two workers of one shard (one of them a zombie) may publish an older state after a newer one; compaction would keep it.
So a checkpoint moves only by compare-and-set: they find each other there, the checkpoint goes, and all of the shard is
published
again. That holds as long as the zombie lives to look at the checkpoint; if it dies right after its record, that rider
shows
an older place until his next event.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from infrastructure.sinks.decorators import SinkDecorator
from infrastructure.sinks.published_checkpoints import CheckpointMove, PublishedCheckpoint, PublishedCheckpointStore
from infrastructure.sinks.topic_publisher import PublishedRecords, SynchronousPublisher
from projections.core.ports import ApplyOutcome, EventLog, Fence, ShardWrite, Sink

log = logging.getLogger("ridelog.publication")

READ_EVENTS = 5_000
MAX_EVENTS = 50_000
"""Past this, to publish the whole shard is less work than to read what happened in it."""


def full_publish_reason(checkpoint: PublishedCheckpoint | None, now: PublishedCheckpoint) -> str | None:
    """Why nothing is known of what the topic shows; None: the checkpoint is an earlier place of the same way to
    ``now``."""
    if checkpoint is None:
        return "the shard was never published as a whole, or two publishers met"
    if checkpoint.topic != now.topic:
        return "the topic was made again"
    if checkpoint.generation != now.generation:
        return f"the topic shows generation {checkpoint.generation}"
    if (checkpoint.fence.log_id, checkpoint.fence.incarnation) != (now.fence.log_id, now.fence.incarnation):
        return "the shard was folded anew or a key was unparked"
    return "the shard was taken back" if checkpoint.fence.seq > now.fence.seq else None


def changed_keys(log: EventLog, stream: str, shard: int, after: int, upto: int) -> list[str] | None:
    """Keys with an event in (``after``, ``upto``]; None if there are too many events, or the log has not all."""
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
    """Keys that other generations may have left on the topic: of the one that it shows, and of both neighbours.

    Without a checkpoint two publishers met, which are neighbours. Of a generation that is gone, the log names the
    keys: all
    that have an event up to ``now``. Raises PortUnavailable.
    """
    shows = checkpoint.generation if checkpoint is not None and checkpoint.topic == now.topic else now.generation
    keys: set[str] = set()
    for generation in {shows, now.generation - 1, now.generation + 1} - {0, now.generation}:
        dump = sink_of(generation).snapshot(shard)
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
                "the first events of %s shard %d were detached: a key that only they have stays on the topic if the "
                "new generation lacks it; delete the topic, it is made and filled again",
                stream,
                shard,
            )
        keys.update(event.key for event in events)
        after = events[-1].seq
    return keys


S = TypeVar("S")

LOAD_KEYS = 1_000


class CompactedTopicSink(SinkDecorator, Generic[S]):
    """``projections.core.ports.Sink`` around another one. Only the ``active`` generation publishes; one thread uses it.

    ``sink_of`` gives the sink of another generation, whose keys may be on the topic and not in this one.

    Raises PortUnavailable also when the topic's broker is away: the shards wait, nothing is lost. ``drop`` leaves the
    checkpoints: they are not this generation's alone, and tell the next one that all has to be published anew.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        stream: str,
        generation: int,
        log_port: EventLog,
        records: PublishedRecords[S],
        publisher: SynchronousPublisher,
        checkpoints: PublishedCheckpointStore,
        active: Callable[[], bool],
        sink_of: Callable[[int], Sink],
    ) -> None:
        super().__init__(sink)
        self._stream = stream
        self._generation = generation
        self._log = log_port
        self._records = records
        self._publisher = publisher
        self._checkpoints = checkpoints
        self._active = active
        self._sink_of = sink_of
        self._topic = ""
        """Identity of the topic as it was last asked for; empty: not yet."""
        self._shown: dict[int, PublishedCheckpoint | None] = {}
        """Marks as this worker left them, of shards that are shown as they are; None: of an empty shard."""

    def fences(self, shards: Sequence[int]) -> list[Fence | None]:
        """And publish what the topic does not show of these shards."""
        fences = self._sink.fences(shards)
        if self._publishes() and shards:
            self._catch_up(dict(zip(shards, fences, strict=True)))
        return fences

    def apply(self, writes: Sequence[ShardWrite]) -> list[ApplyOutcome]:
        done = self._sink.apply(writes)
        if not self._publishes() or not self._topic:
            # Made active a moment ago: the next ``fences`` publishes all of it.
            return done
        won = [write for write, outcome in zip(writes, done, strict=True) if outcome is ApplyOutcome.APPLIED]
        self._publisher.publish(
            record for write in won for record in self._records.to_records(write.shard, write.states)
        )
        self._move(
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
        """What was refolded may end below the positions that are shown, where readers keep the higher one: such a key
        is taken off the topic and shown again in the same breath. Keys that are as they were are not touched."""
        if not self._publishes():
            return self._sink.promote(shard, expected, refolded)
        served, staging = self._sink.snapshot(shard), self._sink.staging().snapshot(shard)
        if (served.fence, staging.fence) != (expected, refolded):
            # Another worker has promoted the shard: nothing is beside it any more, and every key would seem gone.
            return False
        was_shown = self._topic != "" and self._is_shown(shard, expected)
        # Without a checkpoint all of the shard is published again: should the promotion be lost, or never come; and
        # after it
        # once more, should another worker have published and marked the shard meanwhile.
        self._shown.pop(shard, None)
        self._checkpoints.forget([shard])
        self._publisher.publish(self._records.replacing(shard, served.states, staging.states))
        done = self._sink.promote(shard, expected, refolded)
        self._checkpoints.forget([shard])
        if done and was_shown:
            self._move({shard: CheckpointMove(None, PublishedCheckpoint(self._generation, refolded, self._topic))})
        return done

    def close(self) -> None:
        """Drop the connection to the broker."""
        self._publisher.close()

    def _publishes(self) -> bool:
        if self._active():
            return True
        # Whatever it knew of the topic, another generation publishes there now.
        self._topic = ""
        self._shown.clear()
        return False

    def _catch_up(self, fences: Mapping[int, Fence | None]) -> None:
        topic = self._publisher.identity()
        if topic != self._topic:
            # A publisher of the old topic may be one that the broker has forgotten.
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
                self._publish_behind(shard, checkpoint, now)

    def _publish_behind(self, shard: int, checkpoint: PublishedCheckpoint | None, now: PublishedCheckpoint) -> None:
        why = full_publish_reason(checkpoint, now)
        keys = None
        if checkpoint is not None and why is None:
            keys = changed_keys(self._log, self._stream, shard, checkpoint.fence.seq, now.fence.seq)
            why = f"published up to seq {checkpoint.fence.seq} of {now.fence.seq}"
        # States may be newer than the fence by now: then they are published once more than needed.
        if keys is None:
            published = self._publish_all(shard, checkpoint, now)
        else:
            parts = [keys[first : first + LOAD_KEYS] for first in range(0, len(keys), LOAD_KEYS)]
            loaded = (self._sink.load({shard: part}).get(shard, {}) for part in parts)
            published = self._publisher.publish(
                record for states in loaded for record in self._records.to_records(shard, states)
            )
        log.info("published again", extra={"stream": self._stream, "shard": shard, "records": published, "why": why})
        self._move({shard: CheckpointMove(checkpoint, now)})

    def _publish_all(self, shard: int, checkpoint: PublishedCheckpoint | None, now: PublishedCheckpoint) -> int:
        """Publish the whole shard. Returns the number of records.

        Readers keep the highest position, so a tombstone comes first for every key that another generation may show and
        this one does not show as of its latest event: one that its fold leaves out, or one that is parked here.
        """
        dump = self._sink.snapshot(shard)
        records = list(self._records.to_records(shard, dump.states))
        current = {record.key.decode() for record in records} - dump.parked.keys()
        others = keys_of_other_generations(self._log, self._stream, shard, checkpoint, now, self._sink_of)
        gone = self._records.tombstones(shard, sorted(others - current), now.fence.position)
        return self._publisher.publish([*gone, *records])

    def _is_shown(self, shard: int, fence: Fence | None) -> bool:
        """Whether the topic showed the shard as it was at ``fence``; if not, the next ``fences`` publishes it."""
        if shard not in self._shown:
            return False
        checkpoint = self._shown[shard]
        return (None if checkpoint is None else checkpoint.fence) == fence

    def _move(self, moves: Mapping[int, CheckpointMove]) -> None:
        lost = []
        for shard, won in self._checkpoints.move(moves).items():
            if won:
                self._shown[shard] = moves[shard].new
            else:
                lost.append(shard)
                self._shown.pop(shard, None)
        if lost:
            log.warning("another worker published too, these shards are published again: %s", lost)
            self._checkpoints.forget(lost)
