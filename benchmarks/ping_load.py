"""The two clients of ``end_to_end``: one sends the load, the other measures how fresh reads are."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, NamedTuple

import msgspec
import psutil
import uvloop

from benchmarks.cpu import seconds_of
from benchmarks.open_loop import Pool, paced
from domain.identifiers import shard_of
from infrastructure.process_pool import tune_gc
from infrastructure.redis.connection import connect_server_async
from projections.speed import SPEED
from read_models.redis_keys import state_key
from read_models.speed.state import decode

BATCH = 200
RIDERS = 5_000
CONNECTIONS = 32
PROBE = "the-probe"
PROBE_INTERVAL_S = 0.05
POLL_INTERVAL_S = 0.002
GIVE_UP_S = 120.0


class Sent(NamedTuple):
    """``took``: seconds from the due time of each request until its answer. ``seconds``: until the last answer."""

    accepted: int
    took: list[float]
    late: list[float]
    seconds: float
    cpu_s: float


class Probed(NamedTuple):
    """``fresh``: seconds from the due time of each ping until its speed was read from Redis."""

    accepted: int
    fresh: list[float]
    cpu_s: float


def ping(rider: str, number: int) -> dict[str, Any]:
    """A ping with the current time; ``number`` makes its place different from that of others."""
    return {
        "rider_id": rider,
        "latitude": 52.5,
        "longitude": 13.4 + number % 1000 / 1e5,
        "event_timestamp_ms": time.time_ns() // 1_000_000,
        "accuracy_meters": 5,
    }


def post(pool: Pool, pings: list[dict[str, Any]]) -> bytes:
    body = msgspec.json.encode(pings)
    head = b"POST /pings HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (pool.host, len(body)) + body


def send(url: str, rate: int, seconds: float) -> Sent:
    """Send ``rate`` pings per second in requests of BATCH, as an open loop, from RIDERS riders in turn."""
    tune_gc()
    before = seconds_of([psutil.Process()])
    found = uvloop.run(_send(url, rate, seconds))
    return found._replace(cpu_s=seconds_of([psutil.Process()]) - before)


async def _send(url: str, rate: int, seconds: float) -> Sent:
    pool = Pool(url, CONNECTIONS)
    await pool.open()
    accepted = 0
    took: list[float] = []
    late: list[float] = []
    began = ended = time.perf_counter()

    def turn(number: int, due: float) -> None:
        def answered(body: bytes) -> None:
            nonlocal accepted, ended
            ended = time.perf_counter()
            took.append(ended - due)
            accepted += msgspec.json.decode(body)["accepted"]

        late.append(time.perf_counter() - due)
        first = number * BATCH
        pings = [ping(f"rider-{n % RIDERS}", n) for n in range(first, first + BATCH)]
        pool.request(post(pool, pings), answered)

    await paced(BATCH / rate, int(seconds * rate / BATCH), turn)
    await pool.drain(GIVE_UP_S)
    pool.close()
    return Sent(accepted, took, late, ended - began, 0.0)


def probe(url: str, redis_url: str, seconds: float) -> Probed:
    """Send a ping of one rider every PROBE_INTERVAL_S, and read the rider's state every POLL_INTERVAL_S."""
    tune_gc()
    before = seconds_of([psutil.Process()])
    found = uvloop.run(_probe(url, redis_url, seconds))
    return found._replace(cpu_s=seconds_of([psutil.Process()]) - before)


async def _probe(url: str, redis_url: str, seconds: float) -> Probed:
    pool, redis = Pool(url, CONNECTIONS), connect_server_async(redis_url)
    await pool.open()
    count = int(seconds / PROBE_INTERVAL_S)
    # Commits of one rider are in order of position, but answers may overtake each other.
    awaited: deque[tuple[int, float]] = deque()
    fresh: list[float] = []

    def turn(number: int, due: float) -> None:
        def answered(body: bytes) -> None:
            awaited.append((msgspec.json.decode(body)["position"], due))

        pool.request(post(pool, [ping(PROBE, number)]), answered)

    async def poll() -> None:
        key, deadline = state_key(SPEED.name, 1, shard_of(PROBE)), time.monotonic() + seconds + GIVE_UP_S
        while len(fresh) < count:
            state = await redis.hget(key, PROBE)
            now = time.perf_counter()
            reached = decode(state).position if isinstance(state, bytes) else 0
            for _ in range(len(awaited)):
                position, due = awaited.popleft()
                if position <= reached:
                    fresh.append(now - due)
                else:
                    awaited.append((position, due))
            pool.check()
            if time.monotonic() > deadline:
                raise SystemExit(f"{count - len(fresh)} pings of the probe never became readable")
            await asyncio.sleep(POLL_INTERVAL_S)

    await asyncio.gather(paced(PROBE_INTERVAL_S, count, turn), poll())
    pool.close()
    await redis.aclose()
    return Probed(count, fresh, 0.0)
