"""Clients of a Redis Cluster: three primaries with a replica each, whose slots and scripts may change at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import redis

from domain.identifiers import SHARDS, shard_of
from infrastructure.embedded.valkey import Valkey
from infrastructure.errors import UserError
from infrastructure.redis.cluster_client import ClusterClient
from infrastructure.redis.cluster_slots import CrossSlotCommand, WrongRedisMode
from infrastructure.redis.connection import EvictingRedis, check_never_evicts, connect, connect_async
from infrastructure.redis.projection_sink import RedisSink
from infrastructure.redis.state_reader import FoundState, MissingState, StateReader
from infrastructure.supervision.preflight import refuse_unreachable_redis
from projections.core.ports import ApplyOutcome, Fence, PortUnavailable, ShardWrite
from read_models.redis_keys import fence_key, state_key
from tests.support.servers.servers import running
from tests.support.servers.valkey_cluster import ValkeyCluster
from tests.support.waiting import eventually

T = TypeVar("T")
KEY = "anna"
SHARD = shard_of(KEY)


def at(seq: int) -> Fence:
    return Fence("log-1", "one", seq, seq * 10)


@pytest.fixture
def client(redis_cluster_url: str) -> Iterator[ClusterClient]:
    client = connect(redis_cluster_url)
    assert isinstance(client, ClusterClient)
    yield client
    client.close()


def read(url: str, reads: Callable[[StateReader], Awaitable[T]], active: Callable[[], int] = lambda: 1) -> T:
    async def in_a_loop() -> T:
        client = connect_async(url)
        reader = StateReader(client, "speed", active)
        try:
            return await reads(reader)
        finally:
            await reader.aclose()
            await client.aclose()

    return asyncio.run(in_a_loop())


def test_a_pipeline_over_all_shards_keeps_the_order_of_its_answers(client: ClusterClient) -> None:
    sink = RedisSink(client, "speed", 1)
    writes = [ShardWrite(shard, None, at(shard + 1), {f"key-{shard}": b"%d" % shard}) for shard in range(SHARDS)]
    assert sink.apply(writes) == [ApplyOutcome.APPLIED] * SHARDS
    assert sink.fences(range(SHARDS)) == [at(shard + 1) for shard in range(SHARDS)]
    found = sink.load({shard: [f"key-{shard}", "another"] for shard in reversed(range(SHARDS))})
    assert found == {shard: {f"key-{shard}": b"%d" % shard} for shard in range(SHARDS)}
    assert len({client.slots().owner(slot) for slot in range(16_384)}) == 3


def test_a_node_that_has_lost_its_scripts_gets_them_again(client: ClusterClient, redis_cluster: ValkeyCluster) -> None:
    """So does a replica that was promoted."""
    sink = RedisSink(client, "speed", 1)
    for seq in (1, 2):
        for node in redis_cluster.nodes:
            node.command("SCRIPT", "FLUSH")
        before = at(seq - 1) if seq > 1 else None
        done = sink.apply([ShardWrite(shard, before, at(seq), {"a": b"A"}) for shard in range(SHARDS)])
        assert done == [ApplyOutcome.APPLIED] * SHARDS


def test_a_cross_slot_mistake_says_so_before_anything_is_sent(client: ClusterClient) -> None:
    with client.pipeline(transaction=False) as pipeline:
        pipeline.unlink(state_key("speed", 1, 3), state_key("speed", 1, 4))
        with pytest.raises(CrossSlotCommand, match="one command may touch one shard"):
            pipeline.execute()
    with client.pipeline(transaction=True) as transaction:
        transaction.get(fence_key("speed", 1, 3)).get(fence_key("speed", 2, 3))
        with pytest.raises(CrossSlotCommand, match="a transaction"):
            transaction.execute()


class MovingSlot:
    """The slot of a shard that is moved from its primary to another one, in the steps of a resharding."""

    def __init__(self, cluster: ValkeyCluster, key: str) -> None:
        self.slot = int(cluster.nodes[0].command("CLUSTER", "KEYSLOT", key))
        self.key = key
        self.source = cluster.primary_of(key)
        self.target = next(node for node in cluster.nodes if node.is_primary() and node is not self.source)
        self._primaries = [node for node in cluster.nodes if node.is_primary()]

    def begin(self) -> None:
        source_id, target_id = (node.command("CLUSTER", "MYID") for node in (self.source, self.target))
        self.target.command("CLUSTER", "SETSLOT", self.slot, "IMPORTING", source_id)
        self.source.command("CLUSTER", "SETSLOT", self.slot, "MIGRATING", target_id)

    def move_keys(self) -> None:
        while key := self.source.first_key_of(self.slot):
            self.source.migrate(key, self.target)

    def end(self) -> None:
        target_id = self.target.command("CLUSTER", "MYID")
        for node in (self.target, self.source, *self._primaries):
            node.command("CLUSTER", "SETSLOT", self.slot, "NODE", target_id)

    def back(self) -> MovingSlot:
        self.source, self.target = self.target, self.source
        return self


@pytest.fixture
def moving(redis_cluster: ValkeyCluster, client: ClusterClient) -> Iterator[MovingSlot]:
    """At the end the slot is where it was."""
    one = MovingSlot(redis_cluster, fence_key("speed", 1, SHARD))
    home = one.source
    yield one
    if redis_cluster.primary_of(one.key) is not home:
        one.back().begin()
        one.move_keys()
        one.end()


def test_writes_and_reads_follow_a_slot_to_its_new_node(
    client: ClusterClient, redis_cluster_url: str, moving: MovingSlot
) -> None:
    sink = RedisSink(client, "speed", 1)
    assert sink.apply([ShardWrite(SHARD, None, at(1), {KEY: b"1"})]) == [ApplyOutcome.APPLIED]

    async def reads(reader: StateReader) -> list[object]:
        found: list[object] = [await reader.get(KEY)]
        moving.begin()
        found.append(await reader.get(KEY))
        moving.move_keys()
        # The slot is still that of the source, which sends each read on.
        found.append(await reader.get(KEY))
        moving.end()
        return [*found, await reader.get(KEY), await reader.get("unknown"), await reader.get_with_fence("unknown")]

    state = FoundState(b"1", 1)
    *found, missing, fence = read(redis_cluster_url, reads)
    assert found == [state] * 4
    assert missing is None
    assert fence == (MissingState(1, 10) if shard_of("unknown") == SHARD else None)
    assert sink.dump(SHARD).fence == at(1)
    assert sink.apply([ShardWrite(SHARD, at(1), at(2), {KEY: b"2"})]) == [ApplyOutcome.APPLIED]
    assert moving.target.command("CLUSTER", "COUNTKEYSINSLOT", moving.slot) == "2"


def test_a_shard_whose_slot_is_on_its_way_is_waited_for(client: ClusterClient, moving: MovingSlot) -> None:
    """A script needs all of its keys on one node. The fence is not moved, so nothing is lost."""
    sink = RedisSink(client, "speed", 1)
    sink.apply([ShardWrite(SHARD, None, at(1), {KEY: b"1"})])
    moving.begin()
    moving.source.migrate(state_key("speed", 1, SHARD), moving.target)
    with pytest.raises(PortUnavailable):
        sink.apply([ShardWrite(SHARD, at(1), at(2), {KEY: b"2"})])
    moving.move_keys()
    moving.end()
    assert sink.dump(SHARD).states == {KEY: b"1"}
    assert sink.apply([ShardWrite(SHARD, at(1), at(2), {KEY: b"2"})]) == [ApplyOutcome.APPLIED]


def test_a_reader_moves_to_another_generation_although_it_is_in_another_slot(
    client: ClusterClient, redis_cluster_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.redis.state_reader.GENERATION_REFRESH_INTERVAL_S", 0.0)
    old, new = RedisSink(client, "speed", 1), RedisSink(client, "speed", 2)
    old.apply([ShardWrite(SHARD, None, at(2), {KEY: b"old 2"})])
    new.apply([ShardWrite(SHARD, None, at(1), {KEY: b"new 1"})])
    active = [1]

    async def reads(reader: StateReader) -> list[FoundState | None]:
        found = [await reader.get(KEY)]
        active[0] = 2
        while await reader.generation() != 2:
            await asyncio.sleep(0)
        found.append(await reader.get(KEY))
        new.apply([ShardWrite(SHARD, at(1), at(2), {KEY: b"new 2"})])
        return [*found, await reader.get(KEY)]

    found = read(redis_cluster_url, reads, lambda: active[0])
    assert found == [FoundState(b"old 2", 1), FoundState(b"old 2", 1), FoundState(b"new 2", 2)]


def test_the_url_of_one_server_does_not_fit_a_node(redis_cluster: ValkeyCluster) -> None:
    node_url = redis_cluster.nodes[0].url
    with pytest.raises(WrongRedisMode, match=r"node of a cluster: write redis\+cluster://host:port,host:port"):
        check_never_evicts(connect(node_url))
    with pytest.raises(UserError, match=r"RIDELOG_REDIS_URL=redis://127.0.0.1:\d+/0: .*redis\+cluster://") as error:
        refuse_unreachable_redis(node_url)
    assert "secret" not in str(error.value)


def test_the_url_of_a_cluster_does_not_fit_one_server(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    with running(Valkey(deep)) as server:
        # Its socket's path is too long, so it listens on a port.
        assert server.url.startswith("redis://")
        refuse_cluster_url(server.url.replace("redis://", "redis+cluster://"))


def refuse_cluster_url(url: str) -> None:
    with pytest.raises(WrongRedisMode, match="is no cluster: write redis:// in place of"):
        check_never_evicts(connect(url))
    with pytest.raises(UserError, match="is no cluster"):
        refuse_unreachable_redis(url)


def test_a_cluster_that_answers_is_accepted(redis_cluster_url: str) -> None:
    refuse_unreachable_redis(redis_cluster_url)
    with pytest.raises(UserError, match="cannot reach Redis at redis"):
        refuse_unreachable_redis("redis+cluster://127.0.0.1:1")


@pytest.mark.parametrize("primary", [True, False], ids=["a primary", "a replica"])
def test_invariant_13_a_node_that_may_evict_is_rejected(
    client: ClusterClient, redis_cluster: ValkeyCluster, primary: bool
) -> None:
    """A replica too: it may be promoted."""
    check_never_evicts(client)
    node = next(node for node in redis_cluster.nodes if node.is_primary() is primary)

    def is_known() -> bool:
        slots = client.refresh()
        return node.port in {address.port for address in (slots.primaries if primary else slots.replicas)}

    # On a busy machine a node may be taken for failed for a while, and is no replica of the cluster meanwhile.
    eventually(is_known, what="the cluster knows the node")
    node.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(EvictingRedis, match=rf"Redis at 127.0.0.1:{node.port} has maxmemory-policy 'allkeys-lru'"):
            check_never_evicts(client)
    finally:
        node.command("CONFIG", "SET", "maxmemory-policy", "noeviction")


def test_a_rejected_command_fails_alone(client: ClusterClient) -> None:
    sink = RedisSink(client, "speed", 1)
    sink.apply([ShardWrite(shard, None, at(1), {"a": b"A"}) for shard in range(SHARDS)])
    with client.pipeline(transaction=False) as pipeline:
        pipeline.hgetall(fence_key("speed", 1, 3)).get(fence_key("speed", 1, 4))
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            pipeline.execute()
    assert sink.fences([3, 4]) == [at(1), at(1)]
