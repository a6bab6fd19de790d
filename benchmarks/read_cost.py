"""CPU that one GET of a speed costs the API's process, compared with an earlier commit in one run.

The servers take turns: this checkout, the checkout of ``--before`` (the code of a commit, for example of
``git worktree add``), and a Litestar application with one route that returns ready bytes, on the same HTTP server. Each
turn reads random riders with full windows: one request after another, many at once, and at a fixed rate.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from operator import truediv
from pathlib import Path

import psutil
import uvloop

from benchmarks.cpu import seconds_of
from benchmarks.open_loop import Pool, clients, paced, spread
from benchmarks.read_cost_child import RIDERS, rider
from benchmarks.results import at_most, report
from benchmarks.support import redis_server
from infrastructure.embedded.server import free_port
from tests.support.http.wire import Wire
from tests.support.http.wire_cases import LIVE
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent
NOW, BEFORE, BARE = "now", "before", "bare Litestar route"
CONNECTIONS = 32
RATES = (500, 2_000)
GIVE_UP_S = 60.0
WANTED_RATIO = 0.6
ONE_BY_ONE, MANY = "one after another", f"{CONNECTIONS} at once"
LOADS = {ONE_BY_ONE: 1, MANY: CONNECTIONS} | {f"{rate:,}/s": rate for rate in RATES}
"""Name -> clients of a closed loop, or reads per second."""


@contextmanager
def serving(what: str, checkout: Path, redis_url: str, generation: int) -> Iterator[tuple[str, psutil.Process]]:
    """URL and process of a server that runs the code of ``checkout``."""
    port = free_port()
    script = ROOT / "benchmarks" / "read_cost_child.py"
    command = [sys.executable, "-P", str(script), what, str(port), redis_url, str(generation)]
    child = subprocess.Popen(command, cwd=checkout, env=os.environ | {"PYTHONPATH": str(checkout)})

    def serves() -> bool:
        assert child.poll() is None, f"the server of {what} has ended"
        try:
            with Wire(f"http://127.0.0.1:{port}", timeout_s=5) as wire:
                return wire.send(LIVE).answer() is not None
        except OSError:
            return False

    try:
        eventually(serves, within_s=GIVE_UP_S, what=f"{what} serves")
        yield f"http://127.0.0.1:{port}", psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(15)


async def closed_loop(url: str, at_once: int, seconds: float) -> list[float]:
    """Seconds of each read; ``at_once`` clients send the next request as soon as they have an answer."""
    pool, chance = Pool(url, at_once), random.Random(1)
    await pool.open()
    took: list[float] = []
    until = time.perf_counter() + seconds

    def ask() -> None:
        sent = time.perf_counter()

        def answered(_body: bytes) -> None:
            took.append(time.perf_counter() - sent)
            if time.perf_counter() < until:
                asyncio.get_running_loop().call_soon(ask)

        pool.request(request(pool, chance), answered)

    for _ in range(at_once):
        ask()
    await asyncio.sleep(seconds)
    await pool.drain(GIVE_UP_S)
    pool.close()
    return took


async def open_loop(url: str, rate: int, seconds: float) -> list[float]:
    """Seconds of each of ``rate`` reads per second, from when it was due."""
    pool, chance = Pool(url, CONNECTIONS), random.Random(1)
    await pool.open()
    took: list[float] = []

    def turn(_number: int, due: float) -> None:
        pool.request(request(pool, chance), lambda _body: took.append(time.perf_counter() - due))

    await paced(1 / rate, int(rate * seconds), turn)
    await pool.drain(GIVE_UP_S)
    pool.close()
    return took


def request(pool: Pool, chance: random.Random) -> bytes:
    key = rider(chance.randrange(RIDERS)).encode()
    return b"GET /riders/" + key + b"/speed?allow_expired=true HTTP/1.1\r\nHost: " + pool.host + b"\r\n\r\n"


def run(load: str, url: str, seconds: float) -> list[float]:
    """In a client process: read under ``load``."""
    if load in {ONE_BY_ONE, MANY}:
        return uvloop.run(closed_loop(url, LOADS[load], seconds))
    return uvloop.run(open_loop(url, LOADS[load], seconds))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=Path, help="a checkout of an earlier commit")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one load on one server")
    options = parser.parse_args(arguments)
    cost: dict[tuple[str, str], list[float]] = {}
    took: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as stack:
        redis_url = stack.enter_context(redis_server())
        servers = {NOW: stack.enter_context(serving("speed", ROOT, redis_url, 1))}
        if options.before is not None:
            servers[BEFORE] = stack.enter_context(serving("speed", options.before.resolve(), redis_url, 2))
        servers[BARE] = stack.enter_context(serving("bare", ROOT, redis_url, 3))
        pool = stack.enter_context(clients(1))
        for number in range(options.rounds + 1):
            for load in LOADS:
                for name, (url, process) in servers.items():
                    spent = seconds_of([process])
                    each = pool.submit(run, load, url, options.seconds).result(GIVE_UP_S + options.seconds)
                    spent = seconds_of([process]) - spent
                    if number:  # the first round warms up
                        cost.setdefault((load, name), []).append(spent / len(each) * 1e6)
                        took.setdefault((load, name), []).extend(each)
    figures: dict[str, float] = {}
    for (load, name), costs in cost.items():
        figures[f"{load}, {name}: CPU µs a read"] = statistics.median(costs)
        figures[f"{load}, {name}: p50, ms"] = spread(took[load, name]).p50
        figures[f"{load}, {name}: p99, ms"] = spread(took[load, name]).p99
    # The ratio of turns that follow each other, since the load of a shared machine drifts during the run.
    ratios = {
        f"{load}: CPU now / before": statistics.median(map(truediv, cost[load, NOW], cost[load, BEFORE]))
        for load in LOADS
        if (load, BEFORE) in cost
    }
    report("read_cost", figures | ratios, {label: at_most(WANTED_RATIO) for label in ratios})


if __name__ == "__main__":
    main()
