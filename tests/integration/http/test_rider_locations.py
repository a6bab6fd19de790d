"""``rider-locations`` on a real broker and a real Redis: the topic alone gives the state of the log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from domain.events.contracts import Codec
from infrastructure.embedded.server import free_port
from infrastructure.embedded.tansu import Tansu
from infrastructure.kafka.admin import admin, ensure_topics
from infrastructure.kafka.topics import published_topic
from infrastructure.redis.connection import connect_server
from infrastructure.redis.projection_sink import RedisSink
from infrastructure.settings.settings import Settings
from infrastructure.sinks.compacted_topic_factory import CompactedTopicFactory
from infrastructure.sinks.kafka_compacted_topic import KafkaCompactedTopic
from projections.core.ports import LoggedEvent, PortUnavailable, Sink
from projections.core.projection import Projection
from projections.live.stream_follower import StreamFollower
from projections.locations import LOCATIONS
from read_models.locations.state import TOPIC
from tests.support.ports_in_memory.projection_ports import MemoryLog, ScriptedTopic
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.servers.servers import running
from tests.support.waiting import eventually
from tests.support.worlds.locations import compacted, highest, read_locations, read_records
from tests.support.worlds.locations_world import HISTORY, OTHER, folded
from tests.support.worlds.speed_events import ping_data

PARTITIONS = 8


class Workers:
    """Workers on real servers. The log is in memory."""

    def __init__(self, settings: Settings, client: redis.Redis, stack: ExitStack) -> None:
        self.settings = settings
        self.log = MemoryLog()
        self.name = published_topic(settings, TOPIC)
        self._client = client
        self._stack = stack
        self.ping(*HISTORY)

    def ping(self, *history: tuple[str, int]) -> list[LoggedEvent]:
        first = len(self.log.events)
        return [
            self.log.append(rider, "GpsPing", ping_data(rider, second * 1000, number))
            for number, (rider, second) in enumerate(history, start=first)
        ]

    def store(self, generation: int = 1) -> RedisSink:
        return RedisSink(self._client, LOCATIONS.name, generation)

    def sink(
        self,
        active: Callable[[], bool] = lambda: True,
        generation: int = 1,
        projection: Projection[Any] = LOCATIONS,
    ) -> Sink:
        return self._stack.enter_context(
            CompactedTopicFactory(self.settings, self._client, self.log, Codec(LocalSchemaIds()).encode).publishing(
                projection, generation, self.store(generation), active
            )
        )

    def runner(self, topic: ScriptedTopic, sink: Sink, projection: Projection[Any] = LOCATIONS) -> StreamFollower[Any]:
        return StreamFollower(
            projection, log_port=self.log, consumer=topic, sink=sink, decode=json.loads, partitions=PARTITIONS
        )

    def shown(self) -> dict[str, dict[str, Any]]:
        assert self.settings.kafka_bootstrap is not None
        return read_locations(self.settings.kafka_bootstrap, self.name)

    def is_shown(self) -> bool:
        return self.shown() == folded(self.log.events)


@pytest.fixture(params=["confluent", "kafka-python"])
def workers(
    request: pytest.FixtureRequest, tmp_path: Path, redis_url: str, kafka_bootstrap: str, topic_prefix: str
) -> Iterator[Workers]:
    settings = Settings(
        data_dir=tmp_path,
        redis_url=redis_url,
        kafka_bootstrap=kafka_bootstrap,
        topic_prefix=topic_prefix,
        kafka_client=request.param,
    )
    client = connect_server(redis_url)
    with ExitStack() as stack:
        yield Workers(settings, client, stack)
    client.close()


def test_the_topic_alone_gives_the_state(workers: Workers) -> None:
    topic = ScriptedTopic(PARTITIONS)
    runner = workers.runner(topic, workers.sink())
    runner.step(0)
    assert workers.is_shown()
    # A late ping moves no rider, but the position of the state advances.
    topic.deliver(workers.ping(("rider-1", 90), ("rider-2", 1), ("new", 3)))
    runner.step(0)
    assert workers.is_shown()
    assert workers.settings.kafka_bootstrap is not None
    records = read_records(workers.settings.kafka_bootstrap, workers.name)
    assert highest(compacted(records)) == highest(records)


def test_a_worker_that_ended_between_store_and_topic_leaves_no_value_unpublished(workers: Workers) -> None:
    topic = ScriptedTopic(PARTITIONS)
    workers.runner(topic, workers.sink()).step(0)
    # As Redis sees it: the compare-and-set succeeded and nothing followed.
    news = workers.ping(("rider-1", 90), ("new", 3))
    topic.deliver(news)
    workers.runner(topic, workers.store()).step(0)
    assert not workers.is_shown()
    workers.runner(ScriptedTopic(PARTITIONS), workers.sink()).step(0)
    assert workers.is_shown()


def test_a_deleted_topic_is_republished_completely(workers: Workers) -> None:
    runner = workers.runner(ScriptedTopic(PARTITIONS), workers.sink())
    runner.step(0)
    assert workers.settings.kafka_bootstrap is not None
    with admin(workers.settings.kafka_bootstrap) as client:
        client.delete_topics([workers.name])
    runner.idle_check()
    assert workers.is_shown()


def test_riders_that_a_restored_log_does_not_have_are_removed_from_the_topic(workers: Workers) -> None:
    workers.ping(("gone", 90))
    workers.runner(ScriptedTopic(PARTITIONS), workers.sink()).step(0)
    assert "gone" in workers.shown()
    workers.log = workers.log.restored_to(len(HISTORY))
    runner = workers.runner(ScriptedTopic(PARTITIONS), workers.sink())
    runner.step(0)
    runner.idle_check()
    assert workers.is_shown()


def test_a_switch_to_another_fold_publishes_its_values_and_removes_the_riders_that_it_omits(workers: Workers) -> None:
    """Issue 13, number 24."""
    active = 1
    old = workers.runner(ScriptedTopic(PARTITIONS), workers.sink(lambda: active == 1))
    new = workers.runner(ScriptedTopic(PARTITIONS), workers.sink(lambda: active == 2, 2, OTHER), OTHER)
    for generation, shown in ((1, LOCATIONS), (2, OTHER), (1, LOCATIONS)):
        active = generation
        for runner in (old, new):
            runner.step(0)
            runner.idle_check()
        assert workers.shown() == folded(workers.log.events, shown)


def test_an_inactive_generation_creates_no_topic(workers: Workers) -> None:
    runner = workers.runner(ScriptedTopic(PARTITIONS), workers.sink(active=lambda: False))
    runner.step(0)
    runner.idle_check()
    assert workers.settings.kafka_bootstrap is not None
    with admin(workers.settings.kafka_bootstrap) as client:
        assert client.describe_topics([workers.name])[0]["error_code"]


def test_a_broker_that_restarts_without_its_log_gets_all_values_again(workers: Workers, tmp_path: Path) -> None:
    broker = Tansu(tmp_path / "broker")
    with running(broker):
        workers.settings = msgspec.structs.replace(workers.settings, kafka_bootstrap=broker.url)
        topic = ScriptedTopic(PARTITIONS)
        runner = workers.runner(topic, workers.sink())
        runner.step(0)
        broker.kill()
        topic.deliver(workers.ping(("rider-1", 90)))
        with pytest.raises(PortUnavailable):
            runner.step(0)
        broker.start()
        eventually(lambda: steps(runner), within_s=60, every_s=0.2, what="the worker goes on")
        assert workers.is_shown()


def steps(runner: StreamFollower[Any]) -> bool:
    try:
        runner.step(0)
    except PortUnavailable:
        return False
    return True


def test_the_identity_of_a_topic_does_not_depend_on_its_name(kafka_bootstrap: str, topic_prefix: str) -> None:
    name = topic_prefix + TOPIC
    topic = KafkaCompactedTopic(kafka_bootstrap, name, PARTITIONS)
    first = topic.identity()
    assert topic.identity() == KafkaCompactedTopic(kafka_bootstrap, name, PARTITIONS).identity() == first
    assert KafkaCompactedTopic(kafka_bootstrap, name + "-2", PARTITIONS).identity() != first
    with admin(kafka_bootstrap) as client:
        client.delete_topics([name])
    assert topic.identity() != first


def test_a_topic_with_another_number_of_partitions_is_rejected(kafka_bootstrap: str, topic_prefix: str) -> None:
    name = topic_prefix + TOPIC
    ensure_topics(kafka_bootstrap, [name], 4)
    with pytest.raises(PortUnavailable, match="has 4 partitions, not 8"):
        KafkaCompactedTopic(kafka_bootstrap, name, PARTITIONS).identity()


def test_an_unavailable_broker_is_a_port_error() -> None:
    topic = KafkaCompactedTopic(f"127.0.0.1:{free_port()}", TOPIC, PARTITIONS, timeout_s=1.0)
    with pytest.raises(PortUnavailable, match="does not answer within 1 s"):
        topic.identity()
