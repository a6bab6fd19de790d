"""A projection's sink, publishing if the projection says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis

from infrastructure.kafka.factory import bootstrap, make_publisher
from infrastructure.publication.kafka_topic import KafkaCompactedTopic
from infrastructure.publication.outlet import Outlet
from infrastructure.publication.records import Encode, PublishedRecords
from infrastructure.publication.redis_marks import RedisMarks
from infrastructure.publication.sink import PublishedSink
from infrastructure.redis.sink import RedisSink
from infrastructure.settings import Settings
from infrastructure.topics import published_topic
from projections.ports import Log, Sink
from projections.protocol import Projection


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
