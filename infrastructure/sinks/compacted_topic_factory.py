"""Wraps a projection's sink so that it publishes to a compacted topic, if the projection declares one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from infrastructure.kafka.clients import bootstrap, make_publisher
from infrastructure.kafka.topics import published_topic
from infrastructure.redis.projection_sink import RedisSink
from infrastructure.settings.settings import Settings
from infrastructure.sinks.compacted_topic import CompactedTopic, CompactedTopicSink, PublishingGeneration
from infrastructure.sinks.published_checkpoints import RedisPublishedCheckpoints
from infrastructure.sinks.topic_publisher import Encode, PublishedRecords, SynchronousPublisher
from projections.core.ports import EventLog, Sink
from projections.core.projection import Projection


@dataclass(frozen=True)
class CompactedTopicFactory:
    """What every publishing sink of a process needs. ``encode`` frames a published record under its contract."""

    settings: Settings
    client: redis.Redis
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
        # The client of the control plane costs each process a tenth of its start; few projections publish.
        from infrastructure.sinks.kafka_compacted_topic import KafkaCompactedTopic

        settings = self.settings
        topic = published_topic(settings, projection.publication.topic)
        partitions = settings.topic_partitions
        publisher = SynchronousPublisher(
            lambda: make_publisher(settings), KafkaCompactedTopic(bootstrap(settings), topic, partitions).identity
        )
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
