"""A subtask's worker on real stores, without Flink: every projection, generations, an outage, and a changed fold."""

from __future__ import annotations

import dataclasses
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.cdc.gap_fill import EventsTable
from infrastructure.embedded.valkey import Valkey
from infrastructure.flink.generation_driver import IDLE_CHECK_INTERVAL_S
from infrastructure.flink.partition_worker import GENERATIONS_INTERVAL_S, PartitionWorker
from infrastructure.kafka.topics import topics
from infrastructure.observability.stage_reports import read_stages
from infrastructure.settings.settings import Settings
from projections.catalogue import PROJECTIONS
from projections.core.ports import ConsumerRecord, ShardDump, Sink
from projections.core.projection import Projection
from projections.rebuild.catch_up import CatchUp
from projections.speed import SPEED
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually
from tests.support.worlds.city_on_servers import CityOnServers


class Partitions:
    """The topic of one stream as Flink reads it: the records of each partition, by offset."""

    def __init__(self, backends: Backends, stream: str) -> None:
        settings = backends.settings
        self._topic = topics(settings)[stream]
        self._table = EventsTable(backends.engine, topics(settings), settings.topic_partitions)
        self._position = 0
        self._records: dict[int, list[ConsumerRecord]] = defaultdict(list)
        self._delivered: dict[int, int] = defaultdict(int)

    def ends(self, partitions: Sequence[int]) -> Mapping[int, int]:
        self._read()
        return {partition: len(self._records[partition]) for partition in partitions}

    def deliver(self, worker: PartitionWorker, partitions: int) -> None:
        """Hand everything new to ``worker``, in two groups of partitions; an empty batch is a heartbeat."""
        self._read()
        for group in (range(0, partitions, 2), range(1, partitions, 2)):
            batches = {partition: self._records[partition][self._delivered[partition] :] for partition in group}
            for partition, found in batches.items():
                self._delivered[partition] += len(found)
            worker.receive(batches)

    def _read(self) -> None:
        while (chunk := self._table.read(self._position, 1 << 62)) is not None:
            self._position = chunk.last
            for one in chunk.records:
                if one.topic == self._topic:
                    held = self._records[one.partition]
                    held.append(ConsumerRecord(one.topic, one.partition, len(held), one.key, one.value, one.headers))


class Clock:
    """A clock that a test moves; a worker's waits move it too."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waited = threading.Event()

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.waited.set()
        threading.Event().wait(0.01)


@pytest.fixture
def backends(settings: Settings) -> Iterator[Backends]:
    with Backends(settings) as one:
        yield one


def content(sink: Sink) -> list[ShardDump]:
    """What each shard holds, without the incarnation that wrote it."""
    found = [sink.dump(shard) for shard in range(SHARDS)]
    return [one._replace(fence=one.fence and one.fence._replace(incarnation="")) for one in found]


def a_worker(settings: Settings, projection: Projection[Any], source: Partitions, clock: Clock) -> PartitionWorker:
    return PartitionWorker(settings, projection, source.ends, clock=clock, sleep=clock.sleep)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_every_projection_is_stored_as_a_rebuild_stores_it(name: str, settings: Settings, backends: Backends) -> None:
    projection, clock = PROJECTIONS[name], Clock()
    city = CityOnServers(backends)
    source = Partitions(backends, projection.stream)
    worker = a_worker(settings, projection, source, clock)
    city.ride(["r1", "r2"])
    source.deliver(worker, settings.topic_partitions)
    city.deliver(["o1", "o2"])
    city.ride(["r3"])
    source.deliver(worker, settings.topic_partitions)
    worker.close()
    rebuilt = backends.stores.sink(projection, 2)
    CatchUp(projection, backends.log, rebuilt, backends.decode, list(range(SHARDS))).run()
    assert content(backends.stores.sink(projection, 1)) == content(rebuilt)
    assert any(one.states or one.rows for one in content(rebuilt))


def test_a_generation_that_a_rebuild_makes_ready_is_followed_and_a_dropped_one_is_left(
    settings: Settings, backends: Backends
) -> None:
    clock, city = Clock(), CityOnServers(backends)
    source = Partitions(backends, "Rider")
    worker = a_worker(settings, SPEED, source, clock)
    city.ride(["r1"])
    source.deliver(worker, settings.topic_partitions)
    new = backends.generations.begin(SPEED)
    source.deliver(worker, settings.topic_partitions)
    assert not any(backends.stores.sink(SPEED, new.number).fences(range(SHARDS)))
    backends.generations.record(new, "ready", None)
    clock.now_s += GENERATIONS_INTERVAL_S
    city.ride(["r2"])
    source.deliver(worker, settings.topic_partitions)
    served, ready = (backends.stores.sink(SPEED, number) for number in (1, new.number))
    assert content(ready) == content(served)
    backends.generations.record(new, "dropped", None)
    clock.now_s += GENERATIONS_INTERVAL_S
    source.deliver(worker, settings.topic_partitions)
    assert not any(ready.fences(range(SHARDS)))
    worker.close()


def test_a_lost_last_record_of_an_idle_partition_is_found_by_heartbeats(settings: Settings, backends: Backends) -> None:
    clock, city = Clock(), CityOnServers(backends)
    source = Partitions(backends, "Rider")
    worker = a_worker(settings, SPEED, source, clock)
    source.deliver(worker, settings.topic_partitions)
    city.ride(["r1"])
    for _ in range(3):
        clock.now_s += IDLE_CHECK_INTERVAL_S
        for partition in range(settings.topic_partitions):
            worker.receive({partition: []})
    worker.close()
    assert set(_states(backends.stores.sink(SPEED, 1))) == {"r1"}


def test_a_store_that_is_away_holds_the_batch_back_and_loses_nothing(
    settings: Settings, backends: Backends, redis_server: Valkey
) -> None:
    clock, city = Clock(), CityOnServers(backends)
    source = Partitions(backends, "Rider")
    worker = a_worker(settings, SPEED, source, clock)
    city.ride(["r1"])
    source.deliver(worker, settings.topic_partitions)
    city.ride(["r2"])
    redis_server.kill()
    clock.waited.clear()
    delivering = threading.Thread(target=source.deliver, args=(worker, settings.topic_partitions))
    delivering.start()
    assert clock.waited.wait(scaled_s(60))
    assert delivering.is_alive()
    redis_server.start()
    delivering.join(scaled_s(60))
    assert not delivering.is_alive()
    for _ in range(3):
        clock.now_s += IDLE_CHECK_INTERVAL_S
        source.deliver(worker, settings.topic_partitions)
    worker.close()
    assert set(_states(backends.stores.sink(SPEED, 1))) == {"r1", "r2"}


def test_invariant_9_another_fold_writes_nothing_and_says_that_a_rebuild_is_due(
    settings: Settings, backends: Backends
) -> None:
    clock, city = Clock(), CityOnServers(backends)
    source = Partitions(backends, "Rider")
    backends.generations.first(SPEED)
    changed = dataclasses.replace(SPEED, fold_version=SPEED.fold_version + 1)
    worker = a_worker(settings, changed, source, clock)
    city.ride(["r1"])
    source.deliver(worker, settings.topic_partitions)
    worker.close()
    assert not any(backends.stores.sink(SPEED, 1).fences(range(SHARDS)))
    reports = eventually(lambda: [one for one in read_stages(backends.engine) if one.stage == SPEED.name])
    assert "rebuild-projection speed" in reports[0].progress.detail["rebuild_due"]


def _states(sink: Sink) -> dict[str, bytes]:
    return {key: state for shard in range(SHARDS) for key, state in sink.dump(shard).states.items()}
