"""A projection's sink, publishing if the projection says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis

from infrastructure.kafka.clients import bootstrap, make_publisher
from infrastructure.kafka.topics import published_topic
from infrastructure.redis.projection_sink import RedisSink
from infrastructure.settings.settings import Settings
from infrastructure.sinks.compacted_topic import PublishedSink
from infrastructure.sinks.published_checkpoints import RedisMarks
from infrastructure.sinks.topic_publisher import Encode, KafkaCompactedTopic, Outlet, PublishedRecords
from projections.core.ports import Log, Sink
from projections.core.projection import Projection


@contextmanager
def publishing(
    settings: Settings,
    projection: Projection[Any],
    generation: int,
    sink: Sink,
    *,
    client: redis.Redis,
    log_port: Log,
    encode: Encode,
    active: Callable[[], bool],
) -> Iterator[Sink]:
    """``sink`` itself for a projection that publishes nothing. No broker is asked before the generation is active."""
    if projection.publication is None:
        yield sink
        return
    topic = published_topic(settings, projection.publication.topic)
    partitions = settings.topic_partitions
    outlet = Outlet(
        lambda: make_publisher(settings), KafkaCompactedTopic(bootstrap(settings), topic, partitions).identity
    )
    try:
        yield PublishedSink(
            sink,
            stream=projection.stream,
            generation=generation,
            log_port=log_port,
            records=PublishedRecords(projection, topic, partitions, encode),
            outlet=outlet,
            marks=RedisMarks(client, projection.name),
            active=active,
            sink_of=lambda other: RedisSink(client, projection.name, other),
        )
    finally:
        outlet.close()
