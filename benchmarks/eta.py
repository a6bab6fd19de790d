"""The ETA in process and over HTTP, next to GET of a speed and the naive way, in one run beside a load.

RIDERS riders have a full window and an order each, on a complete ``serve``; the log is filled to ``--events``. A second
API process (``naive_eta_child``) differs in one route: its ETA asks Postgres for the order and the last ten pings, and
computes. The two take turns. Whose turn it is gets PINGS pings and READS reads a second, a third of them ETAs. Where
that is not carried, the next smaller share of it is tried, until one is carried.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import uvloop

from benchmarks.cpu import by_program
from benchmarks.eta_filled_log import GIVE_UP_S, RIDERS, fill, order, wait_served
from benchmarks.open_loop import HttpError, Pool, clients, paced, spread
from benchmarks.ping_load import send
from benchmarks.results import at_least, at_most, report
from domain.features.eta.packaged import packaged_baseline
from domain.identifiers import shard_of
from infrastructure.backends import Backends
from infrastructure.embedded.server import free_port
from infrastructure.settings.settings import Settings
from infrastructure.timestamps import now_ms
from projections.core.projection import Projection
from projections.orders import ORDERS
from projections.speed import SPEED
from read_models.eta.answer import eta_answer
from read_models.view import body_of
from tests.support.http.wire import Wire
from tests.support.http.wire_cases import LIVE
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog, ridelog

PINGS = 1_000
READS = 500
ALONE_READS = 150
"""Reads a second while CPU alone is measured: few enough to be carried, and enough beside what idle servers need."""
CONNECTIONS = 32
ROUNDS = 3
SHARES = (1.0, 0.5, 0.25, 0.1, 0.05)
"""Of PINGS and READS."""
CARRIED_P99_S = 1.0
"""A load is carried if 99 % of the reads of our process are answered within this time, and every ping is accepted."""
LOG_TAIL_BYTES = 2_000
ETA, SPEED_READ, NAIVE = "ETA over HTTP", "GET speed", "naive ETA over HTTP"
BESIDE = "GET speed of the naive process"


class Side(NamedTuple):
    """One of the two API processes, and the reads that it gets in turn."""

    url: str
    kinds: tuple[str, ...]


@contextmanager
def naive(one: Ridelog) -> Iterator[tuple[str, psutil.Process]]:
    """URL and process of the naive server, which records into the same log."""
    port, info = free_port(), one.info
    arguments = (str(port), str(one.data_dir), info.postgres_url, info.redis_url)
    child = subprocess.Popen([sys.executable, "-m", "benchmarks.naive_eta_child", *arguments])

    def serves() -> bool:
        assert child.poll() is None, "the naive server has ended"
        try:
            with Wire(f"http://127.0.0.1:{port}", timeout_s=5) as wire:
                return wire.send(LIVE).answer() is not None
        except OSError:
            return False

    try:
        eventually(serves, within_s=60, what="the naive server serves")
        yield f"http://127.0.0.1:{port}", psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(30)


async def reading(url: str, kinds: Sequence[str], rate: int, seconds: float) -> dict[str, list[float]]:
    """Seconds of each read from its due time; the kinds take turns."""
    pool = Pool(url, CONNECTIONS)
    await pool.open()
    chance = random.Random(1)
    took: dict[str, list[float]] = {kind: [] for kind in kinds}

    def turn(number: int, due: float) -> None:
        kind = kinds[number % len(kinds)]
        who = chance.randrange(RIDERS)
        speed = f"/riders/rider-{who}/speed?allow_expired=true"
        path = f"/deliveries/{order(who)}/eta" if kind in {ETA, NAIVE} else speed
        head = b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (path.encode(), pool.host)
        pool.request(head, lambda _body: took[kind].append(time.perf_counter() - due))

    await paced(1 / rate, int(rate * seconds), turn)
    await pool.drain(GIVE_UP_S)
    pool.close()
    return took


def read_from_outside(url: str, kinds: Sequence[str], rate: int, seconds: float) -> dict[str, list[float]]:
    return uvloop.run(reading(url, kinds, rate, seconds))


class Load(NamedTuple):
    """What one process gets in its turn, per second."""

    pings: int
    reads: int

    def __str__(self) -> str:
        return f"{self.pings:,} pings/s + {self.reads:,} reads/s"


class Measured(NamedTuple):
    """Seconds of each kind of read, and the accepted pings of each side, by its first kind of read."""

    took: dict[str, list[float]]
    accepted: dict[str, int]

    def is_carried(self, load: Load, seconds: float) -> bool:
        """Whether our process carries the load; ``seconds``: of its turns."""
        if self.accepted[ETA] < load.pings * seconds * 0.99:
            return False
        return all(spread(self.took[kind]).p99 <= CARRIED_P99_S * 1e3 for kind in (ETA, SPEED_READ))


def measured(pool: ProcessPoolExecutor, sides: Sequence[Side], load: Load, seconds: float) -> Measured:
    """The sides take ROUNDS turns under ``load``, ``seconds`` each in all. Raises HttpError."""
    took: defaultdict[str, list[float]] = defaultdict(list)
    accepted: Counter[str] = Counter()
    turn_s = seconds / ROUNDS
    for _ in range(ROUNDS):
        for url, kinds in sides:
            sending = pool.submit(send, url, load.pings, turn_s)
            reads = pool.submit(read_from_outside, url, kinds, load.reads, turn_s)
            # Both have ended before an error is raised: the next load must be the only one.
            for ended in (sending, reads):
                ended.exception(GIVE_UP_S + turn_s)
            accepted[kinds[0]] += sending.result(0).accepted
            for kind, each in reads.result(0).items():
                took[kind] += each
    return Measured(took, accepted)


def carried(
    one: Ridelog, backends: Backends, pool: ProcessPoolExecutor, sides: Sequence[Side], seconds: float
) -> tuple[dict[str, Any], Measured]:
    """Measure under smaller and smaller loads until one is carried. Returns all figures, and what the last gave.

    Raises HttpError if the smallest load fails.
    """
    figures: dict[str, Any] = {}
    for share in SHARES:
        load = Load(int(PINGS * share), int(READS * share))
        try:
            found = measured(pool, sides, load, seconds)
        except HttpError as error:
            sys.stderr.write(f"{load}: {error}\n{log_tail(one)}\n")
            figures[f"{load}: failed"] = str(error)
            if share == SHARES[-1]:
                raise
            wait_served(one, backends)
            continue
        for kind, each in found.took.items():
            figures |= {f"{load}: {kind}: p50, ms": spread(each).p50, f"{load}: {kind}: p99, ms": spread(each).p99}
        is_carried = found.is_carried(load, seconds)
        figures[f"{load}: carried"] = "yes" if is_carried else "no"
        if is_carried:
            break
        wait_served(one, backends)
    return figures, found


def log_tail(one: Ridelog) -> str:
    """The last lines of the logs of the API and of Postgres: they say why a read or a ping was not answered.

    The naive process logs to stderr.
    """
    logs = (one.data_dir / "logs" / f"{name}.log" for name in ("api", "postgres"))
    return "\n".join(log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace") for log in logs if log.exists())


def in_process(backends: Backends) -> list[float]:
    """Seconds of each answer, from the bytes of both states to the bytes of the body; without Redis and HTTP."""
    model = packaged_baseline()

    def stored(projection: Projection[Any], key: str) -> bytes:
        states: bytes = backends.stores.sink(projection, 1).load({shard_of(key): [key]})[shard_of(key)][key]
        return states

    found = [(order(n), stored(ORDERS, order(n)), stored(SPEED, f"rider-{n}")) for n in range(RIDERS)]
    took = []
    for order_id, order_bytes, rider_bytes in found * 5:
        began = time.perf_counter()
        state, rider = ORDERS.decode(order_bytes), SPEED.decode(rider_bytes)
        body_of(eta_answer(order_id, state, rider, (None, None), model, now_ms()))
        took.append(time.perf_counter() - began)
    return took


def cpu_alone(
    pool: ProcessPoolExecutor,
    root: psutil.Process,
    naive_server: psutil.Process,
    sides: Sequence[Side],
    seconds: float,
) -> dict[str, float]:
    """CPU of servers and databases for each kind of read alone, without pings and without what they need when idle.

    Latencies on a shared machine vary by far more than this.
    """

    def spent() -> float:
        found = by_program(root, {"naive": [naive_server]})
        return sum(found[name] for name in ("api", "redis", "postgres", "naive"))

    before = spent()
    time.sleep(seconds)
    idle = spent() - before
    figures: dict[str, float] = {}
    alone = [(sides[0].url, ETA), (sides[0].url, SPEED_READ), (sides[1].url, NAIVE)]
    for url, kind in alone:
        before = spent()
        took = pool.submit(read_from_outside, url, [kind], ALONE_READS, seconds).result(GIVE_UP_S + seconds)
        figures[f"{kind}: CPU µs of servers and databases"] = (spent() - before - idle) / len(took[kind]) * 1e6
    return figures


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000, help="in the log before the measurement")
    parser.add_argument("--seconds", type=float, default=60.0, help="under load, of each of the two processes")
    options = parser.parse_args(arguments)
    figures: dict[str, Any] = {}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        one = stack.enter_context(ridelog(Path(folder) / "data"))
        info = one.info
        settings = Settings(data_dir=one.data_dir, postgres_url=info.postgres_url, redis_url=info.redis_url)
        backends = stack.enter_context(Backends(settings))
        fill(backends, options.events)
        wait_served(one, backends)
        figures["events in the log"] = backends.log.head("Rider").position
        alone = spread(in_process(backends))
        figures |= {"ETA in process: p50, ms": alone.p50, "ETA in process: p99, ms": alone.p99}
        naive_url, naive_server = stack.enter_context(naive(one))
        sides = (Side(info.http_url, (ETA, SPEED_READ, SPEED_READ)), Side(naive_url, (NAIVE, BESIDE, BESIDE)))
        root = psutil.Process(one.process.pid)
        with clients(2) as pool:
            for url, kinds in sides:
                pool.submit(read_from_outside, url, kinds, READS // 10, 3.0).result(GIVE_UP_S)
            of_cpu = cpu_alone(pool, root, naive_server, sides, options.seconds / 3)
            of_loads, found = carried(one, backends, pool, sides, options.seconds)
    cpu_of = {kind: of_cpu[f"{kind}: CPU µs of servers and databases"] for kind in (ETA, SPEED_READ, NAIVE)}
    figures |= of_cpu | of_loads | ratios(found, cpu_of)
    targets = {"ETA / GET speed, p50": at_most(2.0), "naive / ETA, p50": at_least(5.0)}
    report("eta", figures, targets)


def ratios(found: Measured, cpu_of: Mapping[str, float]) -> dict[str, float]:
    """Of latencies under the last load, and of CPU alone."""
    eta, speed, other = (spread(found.took[kind]) for kind in (ETA, SPEED_READ, NAIVE))
    return {
        "ETA / GET speed, p50": eta.p50 / speed.p50,
        "naive / ETA, p50": other.p50 / eta.p50,
        "naive / ETA, p99": other.p99 / eta.p99,
        "ETA / GET speed, CPU": cpu_of[ETA] / cpu_of[SPEED_READ],
        "naive / ETA, CPU": cpu_of[NAIVE] / cpu_of[ETA],
    }


if __name__ == "__main__":
    main()
