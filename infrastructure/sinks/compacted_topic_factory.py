"""Wraps a projection's sink so that it publishes its states to a compacted topic, if the projection declares one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from infrastructure.kafka.clients import bootstrap, make_publisher
from infrastructure.kafka.topics import published_topic
from infrastructure.redis.connection import RedisClient
from infrastructure.redis.projection_sink import RedisSink
from infrastructure.settings.settings import Settings
from infrastructure.sinks.compacted_topic import CompactedTopic, CompactedTopicSink, PublishingGeneration
from infrastructure.sinks.published_checkpoints import RedisPublishedCheckpoints
from infrastructure.sinks.topic_publisher import (
    ACKNOWLEDGEMENT_TIMEOUT_S,
    Encode,
    PublishedRecords,
    SynchronousPublisher,
)
from projections.core.ports import EventLog, Sink
from projections.core.projection import Projection


def topic_publisher(
    settings: Settings, topic: str, acknowledgement_timeout_s: float = ACKNOWLEDGEMENT_TIMEOUT_S
) -> SynchronousPublisher:
    """The publisher of a compacted topic, by its full name; it creates the topic if that is missing."""
    # The client of the control plane costs each process a tenth of its start; few projections publish.
    from infrastructure.sinks.kafka_compacted_topic import KafkaCompactedTopic

    identity = KafkaCompactedTopic(bootstrap(settings), topic, settings.topic_partitions).identity
    return SynchronousPublisher(
        lambda: make_publisher(settings), identity, acknowledgement_timeout_s=acknowledgement_timeout_s
    )


@dataclass(frozen=True)
class CompactedTopicFactory:
    """What every publishing sink of a process needs. ``encode`` frames a published record under its contract."""

    settings: Settings
    client: RedisClient
    log_port: EventLog
    encode: Encode

    @contextmanager
    def publishing(
        self, projection: Projection[Any], generation: int, sink: Sink, is_active: Callable[[], bool]
    ) -> Iterator[Sink]:
        """Yield the publishing sink, or ``sink`` itself if the projection publishes nothing.

        No broker is contacted before the generation is active.
        """
        if projection.publication is None:
            yield sink
            return
        topic = published_topic(self.settings, projection.publication.topic)
        partitions = self.settings.topic_partitions
        publisher = topic_publisher(self.settings, topic)
        try:
            yield CompactedTopicSink(
                sink,
                PublishingGeneration(projection.stream, generation, is_active),
                CompactedTopic(
                    PublishedRecords(projection, topic, partitions, self.encode),
                    publisher,
                    RedisPublishedCheckpoints(self.client, projection.name),
                ),
                log_port=self.log_port,
                sink_of=lambda other: RedisSink(self.client, projection.name, other),
            )
        finally:
            publisher.close()
