"""What an open page's stream costs the API a ping: the log's end, Redis, JSON and the socket, on real servers.

python -m benchmarks.live_feed [--riders N] [--rate PINGS/S] [--seconds S] [--behind-ms MS] [--pages N]

A process of its own records the pings and, ``--behind-ms`` later, writes the states that the projection locations
would; another reads the stream. So all CPU time of this process is that of ``GET /live``. What the same load costs
Postgres and Redis is measured without a page first, and subtracted. CPU time hardly changes on a busy machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import httpx
import psutil
import redis

from benchmarks.cpu import by_process, postmaster_of, used_s
from benchmarks.results import at_most
from benchmarks.support import postgres, ready_events, redis_server, report
from domain.features.latest_location import LocationFix, LocationState
from domain.identifiers import shard_of
from infrastructure.event_store.log_changes import PostgresChangedLog
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.http.application import ApiParts, build
from infrastructure.http.event_streams import OpenStreams
from infrastructure.http.live import live_route
from infrastructure.http.live_feed import LiveFeed
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.postgres.held_connection import HeldConnection
from infrastructure.process_pool import tune_gc
from infrastructure.redis.connection import connect_async
from infrastructure.redis.state_reader import StateReader
from infrastructure.settings.settings import Settings
from read_models.locations.state import NAME, encode
from read_models.redis_keys import state_key
from tests.support.servers.http_server import running_server
from tests.support.worlds.recorded_events import nothing

BATCH_PINGS: Final = 100
SETTLE_S: Final = 3.0
SPARE_LOAD_S: Final = 60.0
"""The load is ended with the measurement; a run whose servers start slowly still has enough of it."""
TARGET_US: Final = 8.0
"""A tenth of the CPU that the API spends on a ping without a page."""


class NoOrders:
    """A read model deliveries without an order."""

    def some(self, order_ids: Any) -> list[Any]:
        return []

    def newest(self, status: str, limit: int) -> list[Any]:
        return []


def ride(database: str, cache: str, riders: int, rate: int, behind_s: float, seconds: float, counted: Any) -> None:
    """Record ``rate`` pings a second of ``riders`` riders in turn, and write their states ``behind_s`` later."""
    recorder = EventRecorder(writer_engine(database))
    client = redis.Redis.from_url(cache)
    ready = iter(ready_events(round(seconds * rate), riders))
    waiting: deque[tuple[float, list[tuple[str, int, int]]]] = deque()
    began, number = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        batch = [event for _, event in zip(range(BATCH_PINGS), ready, strict=False)]
        positions = recorder.insert_events(batch) or ()
        counted.value += len(batch)
        rows = [(str(one.aggregate_key), one.originator_version, at) for one, at in zip(batch, positions, strict=True)]
        waiting.append((time.monotonic() + behind_s, rows))
        while waiting and waiting[0][0] <= time.monotonic():
            with client.pipeline(transaction=False) as pipeline:
                for rider, version, position in waiting.popleft()[1]:
                    fix = LocationFix(time.time_ns() // 1_000_000, f"{position:032x}", 52.5 + version / 1e5, 13.4, 5.0)
                    state = encode(LocationState(version, position, fix))
                    pipeline.hset(state_key(NAME, 1, shard_of(rider)), rider, cast("str", state))
                pipeline.execute()
        number += 1
        time.sleep(max(0.0, began + number * BATCH_PINGS / rate - time.monotonic()))


def follow(url: str, counted: Any, sent: Any) -> None:
    """Read a stream as a page does, and count messages and bytes."""
    headers = {"Accept": "text/event-stream"}
    with httpx.Client(trust_env=False, timeout=60) as client, client.stream("GET", url, headers=headers) as response:
        for chunk in response.iter_raw():
            counted.value += chunk.count(b"event: changes")
            sent.value += len(chunk)


@contextmanager
def beside(work: Any, *arguments: Any) -> Iterator[None]:
    """While inside, ``work`` runs in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments, daemon=True)
    process.start()
    try:
        yield
        if not process.is_alive():
            raise SystemExit(f"{work.__name__} ended before the measurement")
    finally:
        process.kill()
        process.join()


@contextmanager
def serving(database: str, cache: str) -> Iterator[str]:
    """The address of ``GET /live``, served in a thread of this process, as the API serves it."""
    client = connect_async(cache)
    locations = StateReader(client, NAME, lambda: 1)
    changes = PostgresChangedLog(HeldConnection(reader_engine(database)))
    feed, streams = LiveFeed(changes, locations, NoOrders()), OpenStreams(8)
    streams.call_at_stop(feed.wake)
    absent = cast("Any", None)
    parts = ApiParts(
        absent, absent, absent, lambda: None, lambda _: None, {}, nothing, routers=[live_route(feed, streams)]
    )
    with running_server(build(Settings(), parts), on_stopping=streams.stop) as (url, _):
        yield f"{url}/live"


def measured(database: str, cache: str, options: argparse.Namespace) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    pings, messages, sent = context.Value("q", 0), context.Value("q", 0), context.Value("q", 0)
    postmaster = postmaster_of(reader_engine(database))
    info = redis.Redis.from_url(cache).info("server")
    server = psutil.Process(int(cast("Any", info)["process_id"]))

    def block() -> dict[str, float]:
        """CPU seconds of a ping, by program, and what was sent."""
        before = pings.value, time.process_time(), by_process(postmaster), by_process(server)
        sent_before = messages.value, sent.value
        began = time.monotonic()
        time.sleep(options.seconds)
        seconds, count = time.monotonic() - began, pings.value - before[0]
        return {
            "pings a second": count / seconds,
            "the API": (time.process_time() - before[1]) / count * 1e6,
            "Postgres": used_s(before[2], by_process(postmaster)) / count * 1e6,
            "Redis": used_s(before[3], by_process(server)) / count * 1e6,
            "messages a second": (messages.value - sent_before[0]) / seconds,
            "kB a second": (sent.value - sent_before[1]) / seconds / 1e3,
        }

    load_s = 2 * options.seconds + SPARE_LOAD_S
    load = (database, cache, options.riders, options.rate, options.behind_ms / 1e3, load_s, pings)
    tune_gc()
    with serving(database, cache) as url, beside(ride, *load):
        while pings.value == 0:
            time.sleep(0.1)
        time.sleep(SETTLE_S)
        without = block()
        with _pages(url, options.pages, messages, sent):
            time.sleep(SETTLE_S)
            found = block()
    figures = {f"CPU µs a ping, {name}": found[name] - without[name] for name in ("the API", "Postgres", "Redis")}
    return {name: found[name] for name in found if name[0] in "pmk"} | figures


@contextmanager
def _pages(url: str, count: int, messages: Any, sent: Any) -> Iterator[None]:
    if count == 0:
        yield
        return
    with beside(follow, url, messages, sent), _pages(url, count - 1, messages, sent):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live_feed")
    parser.add_argument("--riders", type=int, default=1_000)
    parser.add_argument("--rate", type=int, default=2_000, help="pings a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each of the two measurements")
    parser.add_argument("--behind-ms", type=float, default=100.0, help="how far the read model is behind the log")
    parser.add_argument("--pages", type=int, default=1)
    options = parser.parse_args()
    with postgres() as database, redis_server() as cache:
        figures = measured(database, cache, options)
    report("live_feed", figures, {"CPU µs a ping, the API": at_most(TARGET_US)})


if __name__ == "__main__":
    main()
