"""What a Redis Cluster costs a worker and a reader, next to one server: CPU of this process and of the servers.

In one run, in turns: the embedded server, the same over TCP, and a cluster of three primaries with a replica each. A
write is what a worker stores of one batch: the states of some riders and the fence of each shard, by compare-and-set.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import uvloop

from benchmarks.cpu import seconds_of
from benchmarks.results import report
from benchmarks.support import redis_server
from domain.identifiers import SHARDS, shard_of
from infrastructure.embedded.valkey import Valkey
from infrastructure.redis.connection import connect, connect_async
from infrastructure.redis.projection_sink import RedisSink
from infrastructure.redis.state_reader import FoundState, StateReader
from projections.core.ports import ApplyOutcome, Fence, ShardWrite
from tests.support.servers.servers import running
from tests.support.servers.valkey_cluster import ValkeyCluster

ROUNDS = int(os.environ.get("RIDELOG_TEST_ROUNDS", "5"))
RIDERS = 10_000
STATE_BYTES = 400
"""About a rider's state of the projection speed."""
WRITES_OF_A_ROUND = 40
SIZES = (50, 1_000)
"""Riders of one write."""
READS_OF_A_ROUND = 4_000
AT_ONCE = (1, 32)
SOCKET, TCP, CLUSTER = "one server", "one server over TCP", "cluster"


@contextmanager
def tcp_server() -> Iterator[str]:
    """URL of a server that listens on a port, as each node of a cluster does."""
    with tempfile.TemporaryDirectory() as folder:
        deep = Path(folder) / ("d" * 110)  # too long for a socket
        with running(Valkey(deep)) as server:
            yield server.url


@contextmanager
def cluster() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder, running(ValkeyCluster(Path(folder))) as servers:
        yield servers.url


class Measured:
    """One store under test, and the CPU of its servers."""

    def __init__(self, url: str, servers: list[psutil.Process]) -> None:
        self._url = url
        self._servers = servers
        self._sink = RedisSink(connect(url), "speed", 1)
        self._fences: dict[int, Fence | None] = dict.fromkeys(range(SHARDS))
        self.figures: dict[str, list[float]] = {}

    def write(self, size: int) -> None:
        """Measure writes of ``size`` riders each."""
        chance, own = random.Random(size), psutil.Process()
        before, took = (seconds_of([own]), seconds_of(self._servers)), []
        for _ in range(WRITES_OF_A_ROUND):
            by_shard: dict[int, dict[str, bytes]] = {}
            for number in chance.sample(range(RIDERS), size):
                key = f"rider-{number}"
                by_shard.setdefault(shard_of(key), {})[key] = os.urandom(8) * (STATE_BYTES // 8)
            writes = []
            for shard, states in by_shard.items():
                held = self._fences[shard]
                new = Fence("log", "one", held.seq + len(states) if held else len(states), 1)
                writes.append(ShardWrite(shard, held, new, states))
                self._fences[shard] = new
            began = time.perf_counter()
            assert set(self._sink.apply(writes)) == {ApplyOutcome.APPLIED}
            took.append(time.perf_counter() - began)
        stored = WRITES_OF_A_ROUND * size
        self._note(f"write of {size:,} riders: client CPU µs a rider", (seconds_of([own]) - before[0]) / stored * 1e6)
        self._note(
            f"write of {size:,} riders: server CPU µs a rider", (seconds_of(self._servers) - before[1]) / stored * 1e6
        )
        self._note(f"write of {size:,} riders: p50, ms", statistics.median(took) * 1e3)

    def read(self, at_once: int) -> None:
        """Measure reads of single riders, ``at_once`` at a time."""
        own = psutil.Process()
        before = seconds_of([own])
        uvloop.run(self._read(at_once))
        self._note(f"read, {at_once} at once: client CPU µs", (seconds_of([own]) - before) / READS_OF_A_ROUND * 1e6)

    async def _read(self, at_once: int) -> None:
        client = connect_async(self._url)
        reader = StateReader(client, "speed", lambda: 1)

        async def some(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(READS_OF_A_ROUND // at_once):
                assert isinstance(await reader.get(f"rider-{chance.randrange(RIDERS)}"), FoundState)

        await asyncio.gather(*(some(seed) for seed in range(at_once)))
        await reader.aclose()
        await client.aclose()

    def fill(self) -> None:
        """Store a state of every rider."""
        for number in range(0, RIDERS, 1_000):
            riders = [f"rider-{one}" for one in range(number, number + 1_000)]
            for shard in {shard_of(rider) for rider in riders}:
                held = self._fences[shard]
                new = Fence("log", "one", held.seq + 1 if held else 1, 1)
                states = {rider: bytes(STATE_BYTES) for rider in riders if shard_of(rider) == shard}
                assert self._sink.apply([ShardWrite(shard, held, new, states)]) == [ApplyOutcome.APPLIED]
                self._fences[shard] = new

    def _note(self, name: str, value: float) -> None:
        self.figures.setdefault(name, []).append(value)


def started_since(known: set[int]) -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if child.pid not in known]


def main() -> None:
    with ExitStack() as stack:
        stores: dict[str, Measured] = {}
        for name, start in ((SOCKET, redis_server), (TCP, tcp_server), (CLUSTER, cluster)):
            known = {child.pid for child in psutil.Process().children(recursive=True)}
            url = stack.enter_context(start())
            stores[name] = Measured(url, started_since(known))
            stores[name].fill()
        for _ in range(ROUNDS):
            for size in SIZES:
                for store in stores.values():
                    store.write(size)
            for at_once in AT_ONCE:
                for store in stores.values():
                    store.read(at_once)
    figures: dict[str, float] = {}
    for what in stores[SOCKET].figures:
        found = {name: statistics.median(store.figures[what]) for name, store in stores.items()}
        figures |= {f"{what}, {name}": value for name, value in found.items()}
        figures[f"{what}: ratio cluster / one server over TCP"] = found[CLUSTER] / found[TCP]
    report("redis_cluster", figures)


if __name__ == "__main__":
    main()
