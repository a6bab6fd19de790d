"""A failover of a Redis Cluster in mid-load: what it loses shows as fences set back, and is folded again."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGSTOP
from typing import NamedTuple

import pytest

from domain.identifiers import SHARDS, shard_of
from infrastructure.redis.connection import connect, connect_async, drop_connections
from infrastructure.redis.partial_reader import RedisPartialReader
from infrastructure.redis.projection_sink import RedisSink, decode_fence
from infrastructure.redis.state_reader import FoundState, ReadModelUnavailable, StateReader
from projections.core.partials import MergedPartials
from projections.core.ports import Fence, PortUnavailable
from projections.core.shard_processor import ProcessorLimits, ShardProcessor
from projections.live.stream_follower import StreamFollower
from read_models.redis_keys import fence_key
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemoryPartialReader, MemorySink, ScriptedTopic
from tests.support.servers.servers import running
from tests.support.servers.valkey_cluster import ValkeyCluster, ValkeyNode
from tests.support.waiting import eventually
from tests.support.worlds.speed_events import ping_data
from tests.support.worlds.steady_load import BackgroundThread
from tests.support.worlds.tallying_projection import LAST_SEEN, SLOTS, TALLIED, Tally

NODE_TIMEOUT_MS = 2_000
EVENTS_OF_A_BATCH = 50
BATCHES_BETWEEN_IDLE_CHECKS = 10
RIDERS = [f"rider-{number}" for number in range(200)]
T_MS = 1_790_000_000_000


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ValkeyCluster]:
    """A cluster that the test may break."""
    with running(ValkeyCluster(tmp_path)) as one:
        one.set_node_timeout(NODE_TIMEOUT_MS)
        yield one


class FoldingWorker(BackgroundThread):
    """Records pings in a log, and folds them into the cluster as a worker's process does."""

    def __init__(self, url: str) -> None:
        super().__init__("folding worker")
        self.log = MemoryLog()
        self.client = connect(url)
        self.sink = RedisSink(self.client, TALLIED.name, 1, partial_slots=SLOTS)
        self.unavailable = 0
        self._topic = ScriptedTopic()
        self._follower: StreamFollower[Tally] = StreamFollower(
            TALLIED, log_port=self.log, consumer=self._topic, sink=self.sink, decode=json.loads, partitions=8
        )
        self._chance = Random(1)
        self.turn = threading.Lock()
        """Held during each step: who holds it stops the worker."""
        self._folds = threading.Condition()

    def record(self) -> None:
        first = len(self.log.events)
        riders = [self._chance.choice(RIDERS) for _ in range(EVENTS_OF_A_BATCH)]
        pings = [ping_data(rider, T_MS + (first + n) * 1_000, first + n) for n, rider in enumerate(riders)]
        self._topic.deliver([self.log.append(ping["rider_id"], "GpsPing", ping) for ping in pings])

    def run(self) -> None:
        batches = 0
        while not self.stopping:
            self.record()
            try:
                with self.turn:
                    self._follower.step(0)
                    batches += 1
                    if batches % BATCHES_BETWEEN_IDLE_CHECKS == 0:
                        self._follower.idle_check()
            except PortUnavailable:
                self.unavailable += 1
                drop_connections(self.client)
                threading.Event().wait(0.1)
            with self._folds:
                self._folds.notify_all()

    def wait_for(self, events: int) -> None:
        """Until so many more events are folded."""
        until = self._follower.counters.applied + events
        with self._folds:
            assert self._folds.wait_for(lambda: self._follower.counters.applied >= until or self.ended, 60)

    def finish(self) -> None:
        """Fold what is left, after the thread has ended."""
        for _ in range(3):
            self._follower.step(0)
            self._follower.idle_check()


class CityReader(BackgroundThread):
    """Follows the sums of all shards, as the city's process does."""

    def __init__(self, url: str) -> None:
        super().__init__("city reader")
        self._reader = RedisPartialReader(connect(url), TALLIED.name, 1, SLOTS)
        self.tables = MergedPartials([LAST_SEEN])
        self.unavailable = 0

    def run(self) -> None:
        while not self.stopping:
            try:
                self.update()
            except PortUnavailable:
                self.unavailable += 1
            threading.Event().wait(0.02)

    def update(self) -> None:
        self.tables.update(self._reader, range(SHARDS))


class LostWrites(NamedTuple):
    """The fences that a primary had acknowledged, and those that its replica has, by shard."""

    acknowledged: dict[int, Fence | None]
    kept: dict[int, Fence | None]

    def set_back(self) -> list[int]:
        """Shards whose last writes the replica does not have."""
        return [
            shard
            for shard, fence in self.acknowledged.items()
            if fence is not None and ((kept := self.kept[shard]) is None or kept.seq < fence.seq)
        ]


def lose_the_last_writes(cluster: ValkeyCluster, primary: ValkeyNode, worker: FoldingWorker) -> LostWrites:
    """Kill ``primary`` after writes that its replica never gets."""
    replica = cluster.replica_of(primary)
    keys = {shard: fence_key(TALLIED.name, 1, shard) for shard in range(SHARDS)}
    shards = [shard for shard, key in keys.items() if cluster.primary_of(key) is primary]
    assert replica.pid is not None
    os.kill(replica.pid, SIGSTOP)
    try:
        # The stopped replica reads later what was sent to it before. What is written from here on is not sent.
        primary.command("CLIENT", "KILL", "TYPE", "replica")
        worker.wait_for(1_000)
        acknowledged = dict(zip(shards, worker.sink.fences(shards), strict=True))
        primary.kill()
    finally:
        with worker.turn:
            os.kill(replica.pid, SIGCONT)
            eventually(lambda: not replica.has_live_primary(), what="the replica has read what was sent to it")
            kept = {shard: decode_fence(replica.stored(keys[shard])) for shard in shards}
    return LostWrites(acknowledged, kept)


def folded_in_memory(log: MemoryLog) -> MemorySink:
    sink = MemorySink()
    processor = ShardProcessor(TALLIED, log, sink, json.loads, ProcessorLimits())
    processor.open(range(SHARDS))
    for shard, seq in enumerate(log.head(TALLIED.stream).seqs):
        processor.fill(shard, seq)
    return sink


def test_what_a_failover_loses_is_folded_again(cluster: ValkeyCluster) -> None:
    key = RIDERS[0]
    dying = cluster.primary_of(fence_key(TALLIED.name, 1, shard_of(key)))
    promoted = cluster.replica_of(dying)
    other = next(
        rider for rider in RIDERS if cluster.primary_of(fence_key(TALLIED.name, 1, shard_of(rider))) is not dying
    )
    with FoldingWorker(cluster.url) as worker, CityReader(cluster.url) as city:
        worker.wait_for(1_000)
        lost = asyncio.run(read_through(cluster, dying, worker, key, other))
        eventually(promoted.is_primary, within_s=60, what="the replica is promoted")
        worker.wait_for(1_000)
    assert worker.unavailable > 0
    worker.finish()
    city.update()
    assert lost.set_back()
    expected, head = folded_in_memory(worker.log), worker.log.head(TALLIED.stream)
    for shard in range(SHARDS):
        found, wanted = worker.sink.dump(shard), expected.dump(shard)
        assert (found.states, found.rows, found.parked) == (wanted.states, wanted.rows, wanted.parked)
        assert found.fence is None or found.fence.seq == head.seqs[shard]
    sums = MergedPartials([LAST_SEEN])
    sums.update(MemoryPartialReader(expected), range(SHARDS))
    assert (city.tables.rings, city.tables.permanent) == (sums.rings, sums.permanent)

    # The old primary comes back as a replica: its own writes are gone, and nothing changes.
    dying.start()
    eventually(cluster.is_whole, within_s=60, what="the old primary follows the new one")
    assert not dying.is_primary()
    assert worker.sink.fences(range(SHARDS)) == [worker.sink.dump(shard).fence for shard in range(SHARDS)]


async def read_through(
    cluster: ValkeyCluster, dying: ValkeyNode, worker: FoldingWorker, key: str, other: str
) -> LostWrites:
    """Read during the failover, as the API does: ``key`` of the primary that dies, and ``other`` of another one."""
    client = connect_async(cluster.url)
    reader = StateReader(client, TALLIED.name, lambda: 1)
    try:
        assert isinstance(await reader.get(key), FoundState)
        assert isinstance(await reader.get(other), FoundState)
        lost = await asyncio.to_thread(lose_the_last_writes, cluster, dying, worker)
        # The other primaries answer meanwhile.
        assert isinstance(await reader.get(other), FoundState)
        while not await is_read(reader, key):
            await asyncio.sleep(0.05)
        assert await client.ping()
    finally:
        await reader.aclose()
        await client.aclose()
    return lost


async def is_read(reader: StateReader, key: str) -> bool:
    """Whether the key's state is read. Until a replica is promoted, its shard is unavailable."""
    try:
        return isinstance(await reader.get(key), FoundState)
    except ReadModelUnavailable:
        return False
