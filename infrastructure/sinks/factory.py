"""Creates the sink of a projection's generation in the store that the projection names."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine

from infrastructure.postgres.projection_sink import PostgresSink
from infrastructure.postgres.snapshots import PostgresStateSnapshots
from infrastructure.redis.connection import RedisClient
from infrastructure.redis.projection_sink import RedisSink
from infrastructure.sinks.decorators import SnapshottingSink
from projections.core.ports import Sink
from projections.core.projection import Projection


class Stores:
    """The servers that hold the sinks."""

    def __init__(self, engine: Engine, client: RedisClient) -> None:
        self.engine = engine
        self.redis = client

    def sink(self, projection: Projection[Any], generation: int) -> Sink:
        """The sink of one generation.

        A Redis sink also stores state snapshots, in Postgres next to the events, if a fold may start at one.
        """
        if projection.store == "postgres":
            return PostgresSink(self.engine, projection, generation)
        sink = RedisSink(self.redis, projection.name, generation, partial_slots=projection.partial_slots)
        if not projection.starts_at_snapshots:
            return sink
        return SnapshottingSink(sink, PostgresStateSnapshots(self.engine, projection), projection)
