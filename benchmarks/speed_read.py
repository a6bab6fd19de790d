"""Reads a rider's speed in process, from the state in Redis to the bytes of the body, and over HTTP in an open loop.

10,000 riders with full windows are read at random, on a complete ``serve`` without other load. The result is compared
with the minimum that Redis and its client need: HGET of the same states without any further work.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import uvloop

from benchmarks.cpu import by_program, seconds_of
from benchmarks.full_windows import fill, rider
from benchmarks.open_loop import Pool, clients, paced, spread
from benchmarks.results import at_most, report
from domain.identifiers import shard_of
from infrastructure.http.speed import speed_route
from infrastructure.postgres.engine import reader_engine
from infrastructure.process_pool import tune_gc
from infrastructure.redis.connection import connect_server_async
from infrastructure.redis.state_reader import StateReader
from infrastructure.replay.past_reads import PastKeys
from projections.speed import SPEED
from read_models.redis_keys import state_key
from read_models.view import ViewLimits
from tests.support.worlds.ridelog import Ridelog, ridelog

RIDERS = 10_000
READS = 20_000
AT_ONCE = (1, 8)
RATE = int(os.environ.get("RIDELOG_TEST_RATE", "2000"))
SECONDS = int(os.environ.get("RIDELOG_TEST_SECONDS", "20"))
CONNECTIONS = 32
GIVE_UP_S = 120.0

Read = Callable[[str], Awaitable[Any]]


async def timed(read: Read, at_once: int) -> list[float]:
    """Seconds of each of READS reads of random riders, with ``at_once`` concurrent reads."""
    took: list[float] = []

    async def reads(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(READS // at_once):
            key = rider(chance.randrange(RIDERS))
            began = time.perf_counter()
            assert await read(key)
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(reads(seed) for seed in range(at_once)))
    return took


async def in_process(redis_url: str) -> dict[str, float]:
    """Measure with the objects of the API's process and the function that its route calls."""
    tune_gc()
    client = connect_server_async(redis_url)
    handler = speed_route(
        StateReader(client, SPEED.name, lambda: 1),
        # For reads of the past, which this benchmark does not make.
        PastKeys(reader_engine("postgresql://unused/"), SPEED, lambda _: {}, 1),
        ViewLimits(),
        lambda: 0,
        lambda _: None,
    )

    async def ours(key: str) -> bytes:
        answer = await handler.fn(rider_id=key, allow_expired=True, at=None, axis=None, position=None)
        assert isinstance(answer.content, bytes)
        return answer.content

    async def bare(key: str) -> Any:
        return await client.hget(state_key(SPEED.name, 1, shard_of(key)), key)

    figures: dict[str, float] = {}
    for at_once in AT_ONCE:
        name = f"in process, {at_once} at once"
        mine, raw = spread(await timed(ours, at_once)), spread(await timed(bare, at_once))
        figures |= {f"{name}: p50, ms": mine.p50, f"{name}: p99, ms": mine.p99}
        figures |= {f"{name}: HGET alone, p50, ms": raw.p50, f"{name}: HGET alone, p99, ms": raw.p99}
        figures[f"{name}: ratio p50 / HGET alone"] = mine.p50 / raw.p50
    await client.aclose()
    return figures


async def reading(url: str) -> tuple[list[float], list[float]]:
    """Seconds from the due time of each request until its answer, and until it was sent."""
    pool, chance = Pool(url, CONNECTIONS), random.Random(1)
    await pool.open()
    took: list[float] = []
    late: list[float] = []
    tail = b"/speed?allow_expired=true HTTP/1.1\r\nHost: " + pool.host + b"\r\n\r\n"

    def turn(_number: int, due: float) -> None:
        def answered(_body: bytes) -> None:
            took.append(time.perf_counter() - due)

        late.append(time.perf_counter() - due)
        pool.request(b"GET /riders/" + rider(chance.randrange(RIDERS)).encode() + tail, answered)

    await paced(1 / RATE, RATE * SECONDS, turn)
    await pool.drain(GIVE_UP_S)
    pool.close()
    return took, late


def read_from_outside(url: str) -> tuple[list[float], list[float], float]:
    """The client in a separate process. Returns what ``reading`` returns, and the CPU seconds used."""
    tune_gc()
    before = seconds_of([psutil.Process()])
    took, late = uvloop.run(reading(url))
    return took, late, seconds_of([psutil.Process()]) - before


def over_http(one: Ridelog) -> dict[str, float]:
    root = psutil.Process(one.process.pid)
    before, began = by_program(root, {}), time.perf_counter()
    with clients(1) as run:
        took, late, cpu = run.submit(read_from_outside, one.info.http_url).result(SECONDS + 2 * GIVE_UP_S)
    seconds, after = time.perf_counter() - began, by_program(root, {})
    name, mine = f"over HTTP at {RATE:,}/s", spread(took)
    return {
        f"{name}: p50, ms": mine.p50,
        f"{name}: p99, ms": mine.p99,
        f"{name}: longest, ms": mine.longest,
        f"{name}: of which the client sent late, p99, ms": spread(late).p99,
        f"{name}: answered, requests/s": len(took) / seconds,
        f"{name}: CPU µs a request, client": cpu / len(took) * 1e6,
        f"{name}: CPU µs a request, api": (after["api"] - before["api"]) / len(took) * 1e6,
        f"{name}: CPU µs a request, redis": (after["redis"] - before["redis"]) / len(took) * 1e6,
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, ridelog(Path(folder) / "data") as one:
        fill(one, RIDERS)
        figures = uvloop.run(in_process(one.info.redis_url)) | over_http(one)
    targets = {f"in process, {at_once} at once: p99, ms": at_most(2) for at_once in AT_ONCE}
    report("speed_read", figures, targets | {f"over HTTP at {RATE:,}/s: p99, ms": at_most(5)})


if __name__ == "__main__":
    main()
