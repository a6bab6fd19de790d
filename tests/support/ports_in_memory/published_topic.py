"""A compacted topic and its marks in memory; the test decides after which step a worker dies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain.events.contracts import Codec
from infrastructure.kafka.ports import ProducerRecord
from infrastructure.sinks.compacted_topic import CompactedTopic, CompactedTopicSink, PublishingGeneration
from infrastructure.sinks.published_checkpoints import CheckpointMove, PublishedCheckpoint
from infrastructure.sinks.topic_publisher import PublishedRecords, SynchronousPublisher
from projections.core.ports import EventLog, PortUnavailable, Sink
from projections.core.projection import Projection
from projections.locations import LOCATIONS
from tests.support.ports_in_memory.kafka_broker import MemoryBroker, UnknownPartition
from tests.support.ports_in_memory.kafka_publisher import MemoryPublisher
from tests.support.ports_in_memory.projection_ports import MemorySink
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds

TOPIC = "rider-locations"
PARTITIONS = 8


def nothing(*_: object) -> None:
    return


class MemoryMarks:
    """``infrastructure.sinks.published_checkpoints.PublishedCheckpointStore``; the hooks may raise or interfere."""

    def __init__(self) -> None:
        self.held: dict[int, PublishedCheckpoint] = {}
        self.before_move: Callable[[], None] = nothing
        self.after_move: Callable[[], None] = nothing

    def read(self, shards: Sequence[int]) -> dict[int, PublishedCheckpoint]:
        return {shard: self.held[shard] for shard in shards if shard in self.held}

    def move(self, moves: Mapping[int, CheckpointMove]) -> dict[int, bool]:
        self.before_move()
        done = {shard: self.held.get(shard) == expected for shard, (expected, _) in moves.items()}
        self.held.update({shard: moves[shard].new for shard, won in done.items() if won})
        self.after_move()
        return done

    def forget(self, shards: Sequence[int]) -> None:
        for shard in shards:
            self.held.pop(shard, None)


class HookedPublisher(MemoryPublisher):
    """``before`` and ``after`` see each record that goes to the broker; what they raise ends the worker."""

    def __init__(
        self, broker: MemoryBroker, before: Callable[[ProducerRecord], None], after: Callable[[ProducerRecord], None]
    ) -> None:
        super().__init__(broker)
        self._before = before
        self._after = after

    def publish(self, token: int, records: Sequence[ProducerRecord]) -> int:
        for record in records:
            self._before(record)
            super().publish(token, [record])
            self._after(record)
        return len(records)


class Published:
    """The topic, the marks and the states that workers come and go around."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.marks = MemoryMarks()
        self.made = 0
        self.sinks: dict[int, Sink] = {}
        """By generation."""

    def identity(self) -> str:
        """Makes the topic if it is missing, as the real one does."""
        if not self.broker.accepting:
            raise PortUnavailable("the broker is unavailable")
        try:
            self.broker.bounds(TOPIC, 0)
        except UnknownPartition:
            self.made += 1
            self.broker.create_topic(TOPIC, PARTITIONS)
        return f"topic-{self.made}"

    def sink(
        self,
        sink: Sink,
        log: EventLog,
        *,
        generation: int = 1,
        active: Callable[[], bool] = lambda: True,
        before: Callable[[ProducerRecord], None] = nothing,
        after: Callable[[ProducerRecord], None] = nothing,
        batch_records: int = 2_000,
        projection: Projection[Any] = LOCATIONS,
    ) -> CompactedTopicSink[Any]:
        """The sink of one more worker."""
        self.sinks[generation] = sink
        return CompactedTopicSink(
            sink,
            PublishingGeneration("Rider", generation, active),
            CompactedTopic(
                PublishedRecords(projection, TOPIC, PARTITIONS, Codec(LocalSchemaIds()).encode),
                SynchronousPublisher(
                    lambda: HookedPublisher(self.broker, before, after),
                    self.identity,
                    batch_records=batch_records,
                    acknowledgement_timeout_s=0.0,
                ),
                self.marks,
            ),
            log_port=log,
            sink_of=lambda other: self.sinks.get(other) or MemorySink(),
        )

    def records(self) -> list[tuple[bytes, bytes]]:
        """Key and value of all that is on the topic, in the order of each partition."""
        return [(record.key, record.value) for record in self.broker.records(TOPIC)]
