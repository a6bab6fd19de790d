"""The ETA in process and over HTTP, next to GET of a speed and the naive way, in one run beside a load.

RIDERS riders have a full window and an order each, on a complete ``serve``; the log is filled to ``--events``. Then, at
PINGS pings per second, the three kinds of read take turns, request by request, at READS reads per second together. The
naive way asks Postgres for the order and the last ten pings, and computes (``naive_eta_child``).
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import uvloop

from benchmarks.cpu import by_program
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
ETA, SPEED_READ, NAIVE = "ETA over HTTP", "GET speed", "naive ETA over HTTP"


def order(number: int) -> str:
    return f"order-{number}"


def fill(backends: Backends, events: int) -> int:
    """Pings of all riders until the log has ``events``, then an order each. Returns the last position of a ping."""
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
    return backends.log.head("Rider").position


def wait_served(one: Ridelog, position: int) -> None:
    """Wait until the ETA of the last order knows everything up to ``position``."""

    def knows() -> bool:
        answer = one.http.get(f"/deliveries/{order(RIDERS - 1)}/eta")
        if answer.status_code != 200:
            return False
        positions = answer.json()["positions"]
        return (positions["rider"] or 0) >= position and positions["city_snapshot"] is not None

    eventually(knows, within_s=GIVE_UP_S * 4, what="everything is folded")


@contextmanager
def naive(postgres_url: str) -> Iterator[str]:
    port = free_port()
    child = subprocess.Popen([sys.executable, "-m", "benchmarks.naive_eta_child", str(port), postgres_url])

    def serves() -> bool:
        assert child.poll() is None, "the naive server has ended"
        try:
            with Wire(f"http://127.0.0.1:{port}", timeout_s=5) as wire:
                return wire.send(LIVE).answer() is not None
        except OSError:
            return False

    try:
        eventually(serves, within_s=60, what="the naive server serves")
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(15)


async def reading(urls: dict[str, str], rate: int, seconds: float) -> dict[str, list[float]]:
    """Seconds of each read from its due time; the kinds take turns."""
    pools = {kind: Pool(url, CONNECTIONS) for kind, url in urls.items()}
    for pool in pools.values():
        await pool.open()
    chance, kinds = random.Random(1), list(urls)
    took: dict[str, list[float]] = {kind: [] for kind in kinds}

    def turn(number: int, due: float) -> None:
        kind = kinds[number % len(kinds)]
        who = chance.randrange(RIDERS)
        speed = f"/riders/rider-{who}/speed?allow_expired=true"
        path = speed if kind == SPEED_READ else f"/deliveries/{order(who)}/eta"
        head = b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (path.encode(), pools[kind].host)
        pools[kind].request(head, lambda _body: took[kind].append(time.perf_counter() - due))

    await paced(1 / rate, int(rate * seconds), turn)
    for pool in pools.values():
        await pool.drain(GIVE_UP_S)
        pool.close()
    return took


def read_from_outside(urls: dict[str, str], rate: int, seconds: float) -> dict[str, list[float]]:
    return uvloop.run(reading(urls, rate, seconds))


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


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000, help="in the log before the measurement")
    parser.add_argument("--reads", type=int, default=READS, help="per second, a third of each kind")
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args(arguments)
    figures: dict[str, Any] = {}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        one = stack.enter_context(ridelog(Path(folder) / "data"))
        info = one.info
        settings = Settings(data_dir=one.data_dir, postgres_url=info.postgres_url, redis_url=info.redis_url)
        backends = stack.enter_context(Backends(settings))
        wait_served(one, fill(backends, options.events))
        figures["events in the log"] = backends.log.head("Rider").position
        alone = spread(in_process(backends))
        figures |= {"ETA in process: p50, ms": alone.p50, "ETA in process: p99, ms": alone.p99}
        urls = {ETA: info.http_url, SPEED_READ: info.http_url, NAIVE: stack.enter_context(naive(info.postgres_url))}
        root = psutil.Process(one.process.pid)
        with clients(2) as pool:
            pool.submit(read_from_outside, urls, options.reads, 3.0).result(GIVE_UP_S)
            before = by_program(root, {})
            load = pool.submit(send, info.http_url, PINGS, options.seconds)
            took = pool.submit(read_from_outside, urls, options.reads, options.seconds).result(
                GIVE_UP_S + options.seconds
            )
            figures["pings accepted beside it, 1/s"] = load.result(GIVE_UP_S).accepted / options.seconds
            after = by_program(root, {})
        for kind, seconds in took.items():
            figures |= {f"{kind}: p50, ms": spread(seconds).p50, f"{kind}: p99, ms": spread(seconds).p99}
        figures["API, CPU s a second"] = (after["api"] - before["api"]) / options.seconds
        eta, speed, other = (spread(took[kind]) for kind in (ETA, SPEED_READ, NAIVE))
        figures["ETA / GET speed, p50"] = eta.p50 / speed.p50
        figures["naive / ETA, p50"] = other.p50 / eta.p50
        figures["naive / ETA, p99"] = other.p99 / eta.p99
    targets = {"ETA / GET speed, p50": at_most(2.0), "naive / ETA, p50": at_least(5.0)}
    report("eta", figures, targets)


if __name__ == "__main__":
    main()
