"""The ETA in process and over HTTP, next to GET of a speed and the naive way, in one run beside a load.

RIDERS riders have a full window and an order each, on a complete ``serve``; the log is filled to ``--events``. A second
API process (``naive_eta_child``) differs in one route: its ETA asks Postgres for the order and the last ten pings, and
computes. The two take turns. Whose turn it is gets PINGS pings and READS reads a second, a third of them ETAs.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import uvloop

from benchmarks.cpu import by_program
from benchmarks.folded import wait_folded
from benchmarks.open_loop import Pool, clients, paced, spread
from benchmarks.ping_load import send
from benchmarks.results import at_least, at_most, report
from domain.deliveries.commands import Assign, DeliveryCommand, PlaceOrder
from domain.deliveries.values import Coordinates
from domain.features.eta.packaged import packaged_baseline
from domain.gps_ping import parse_ping
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

RIDERS = 1_000
BATCH = 5_000
PINGS = 1_000
READS = 500
CONNECTIONS = 32
GIVE_UP_S = 300.0
ROUNDS = 3
ETA, SPEED_READ, NAIVE = "ETA over HTTP", "GET speed", "naive ETA over HTTP"
BESIDE = "GET speed of the naive process"


class Side(NamedTuple):
    """One of the two API processes, and the reads that it gets in turn."""

    url: str
    kinds: tuple[str, ...]


def order(number: int) -> str:
    return f"order-{number}"


def fill(backends: Backends, events: int) -> None:
    """Pings of all riders until the log has ``events``, then an order each."""
    turns = max(10, (events - 2 * RIDERS) // RIDERS)
    start_ms = now_ms() - turns * 2_000
    pings: list[Any] = []
    for turn in range(turns):
        for number in range(RIDERS):
            at_ms = start_ms + turn * 2_000
            item = {
                "rider_id": f"rider-{number}",
                "latitude": 52.4 + (turn % 2_000) * 9e-5 + number % 100 * 1e-7,
                "longitude": 13.3 + number * 2e-4,
                "event_timestamp_ms": at_ms,
                "accuracy_meters": 5,
            }
            pings.append(parse_ping(item, at_ms))
        if len(pings) >= BATCH or turn == turns - 1:
            backends.riders.record_pings(pings)
            pings = []
    commands: list[DeliveryCommand] = []
    for number in range(RIDERS):
        place = Coordinates(52.5, 13.3 + number * 2e-4)
        at_ms = now_ms()
        commands += [
            PlaceOrder(
                order_id=order(number),
                received_ms=at_ms,
                restaurant=place,
                customer=Coordinates(52.52, place.longitude),
                time_zone="Europe/Berlin",
                currency="EUR",
                preparation_seconds=600,
            ),
            Assign(order_id=order(number), received_ms=at_ms, rider_id=f"rider-{number}"),
        ]
    for first in range(0, len(commands), 200):
        assert all(one.rejection is None for one in backends.deliveries.execute(commands[first : first + 200]))


def wait_served(one: Ridelog, backends: Backends) -> None:
    """Wait until all events are folded and a city snapshot is served."""
    for projection in (SPEED, ORDERS):
        events = sum(backends.log.head(projection.stream).seqs)
        wait_folded(one.info, projection, events, within_s=GIVE_UP_S * 4)

    def has_city() -> bool:
        answer = one.http.get(f"/deliveries/{order(0)}/eta")
        return answer.status_code == 200 and answer.json()["positions"]["city_snapshot"] is not None

    eventually(has_city, within_s=GIVE_UP_S, what="a city snapshot is served")


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


def turns(
    pool: ProcessPoolExecutor, sides: Sequence[Side], options: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds of each kind of read, and the accepted pings of each side: the sides take ROUNDS turns under load."""
    took: defaultdict[str, list[float]] = defaultdict(list)
    accepted: Counter[str] = Counter()
    seconds = options.seconds / ROUNDS
    for _ in range(ROUNDS):
        for url, kinds in sides:
            load = pool.submit(send, url, PINGS, seconds)
            found = pool.submit(read_from_outside, url, kinds, options.reads, seconds).result(GIVE_UP_S + seconds)
            accepted[kinds[0]] += load.result(GIVE_UP_S).accepted
            for kind, each in found.items():
                took[kind] += each
    return took, accepted


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
    options: argparse.Namespace,
) -> dict[str, float]:
    """CPU of servers and databases for each kind of read alone, without pings and without what they need when idle.

    Latencies on a shared machine vary by far more than this.
    """

    def spent() -> float:
        found = by_program(root, {"naive": [naive_server]})
        return sum(found[name] for name in ("api", "redis", "postgres", "naive"))

    seconds = options.seconds / 3
    before = spent()
    time.sleep(seconds)
    idle = spent() - before
    figures: dict[str, float] = {}
    alone = [(sides[0].url, ETA), (sides[0].url, SPEED_READ), (sides[1].url, NAIVE)]
    for url, kind in alone:
        before = spent()
        rate = options.reads // 3
        took = pool.submit(read_from_outside, url, [kind], rate, seconds).result(GIVE_UP_S + seconds)
        figures[f"{kind}: CPU µs of servers and databases"] = (spent() - before - idle) / len(took[kind]) * 1e6
    return figures


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000, help="in the log before the measurement")
    parser.add_argument("--reads", type=int, default=READS, help="per second, a third of them ETAs")
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
                pool.submit(read_from_outside, url, kinds, options.reads, 3.0).result(GIVE_UP_S)
            took, accepted = turns(pool, sides, options)
            figures |= {f"{kind}: pings beside it, 1/s": count / options.seconds for kind, count in accepted.items()}
            figures |= cpu_alone(pool, root, naive_server, sides, options)
        for kind, seconds in took.items():
            figures |= {f"{kind}: p50, ms": spread(seconds).p50, f"{kind}: p99, ms": spread(seconds).p99}
        eta, speed, other = (spread(took[kind]) for kind in (ETA, SPEED_READ, NAIVE))
        figures["ETA / GET speed, p50"] = eta.p50 / speed.p50
        figures["naive / ETA, p50"] = other.p50 / eta.p50
        figures["naive / ETA, p99"] = other.p99 / eta.p99
    cpu_of = {kind: figures[f"{kind}: CPU µs of servers and databases"] for kind in (ETA, SPEED_READ, NAIVE)}
    figures["ETA / GET speed, CPU"] = cpu_of[ETA] / cpu_of[SPEED_READ]
    figures["naive / ETA, CPU"] = cpu_of[NAIVE] / cpu_of[ETA]
    targets = {"ETA / GET speed, p50": at_most(2.0), "naive / ETA, p50": at_least(5.0)}
    report("eta", figures, targets)


if __name__ == "__main__":
    main()
