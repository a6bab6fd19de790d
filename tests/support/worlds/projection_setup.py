"""The speed projection on real servers, with all adapters of its worker, driven by a test."""

from __future__ import annotations

from typing import Any

import redis

from domain.identifiers import SHARDS
from infrastructure.event_store.log_reader import PostgresLog
from infrastructure.kafka.clients import make_consumer
from infrastructure.kafka.topics import topics
from infrastructure.postgres.engine import reader_engine
from infrastructure.redis.projection_sink import RedisSink
from infrastructure.settings.settings import Settings
from projections.live.stream_follower import StreamFollower
from projections.speed import SPEED
from tests.support.postgres.recorded_log import CODEC
from tests.support.waiting import eventually


class Projected:
    """The speed projection that follows a topic and writes to ``generation`` of its store."""

    def __init__(self, settings: Settings, client: redis.Redis, generation: int) -> None:
        assert settings.postgres_url is not None
        self._engine = reader_engine(settings.postgres_url)
        self._topic = make_consumer(settings, topics(settings)["Rider"], "speed")
        self.sink = RedisSink(client, SPEED.name, generation)
        self.runner: StreamFollower[Any] = StreamFollower(
            SPEED,
            log_port=PostgresLog(self._engine),
            consumer=self._topic,
            sink=self.sink,
            decode=CODEC.decode,
            partitions=settings.topic_partitions,
        )

    def until_applied(self, count: int) -> None:
        def applied() -> bool:
            self.runner.step(0.05)
            return len(self.runner.fences()) == SHARDS and self.runner.counters.applied == count

        eventually(applied, within_s=60, every_s=0, what=f"{count} events are folded")

    def states(self) -> list[Any]:
        """The states and the fence of every shard, without the incarnation that wrote them."""
        found = [self.sink.dump(shard) for shard in range(SHARDS)]
        return [(one.states, one.fence and (one.fence.log_id, one.fence.seq, one.fence.position)) for one in found]

    def close(self) -> None:
        self._topic.close()
        self._engine.dispose()
