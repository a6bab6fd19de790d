"""Pings over HTTP until their speeds are readable in Redis: rate, freshness, CPU per ping by process.

python -m benchmarks.end_to_end [--kafka embedded|apache] [--rate PINGS/S] [--seconds S]

A separate probe measures freshness, from the time at which its ping is due until its speed is read. Its ping waits
behind the pings of the load. Clients, servers and all three projections share the machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.cpu import a_ping, by_program
from benchmarks.folded import farthest_behind, wait_folded
from benchmarks.open_loop import clients, spread
from benchmarks.ping_load import probe, send
from benchmarks.results import at_least, at_most, report
from projections.catalogue import of_stream
from projections.speed import SPEED
from tests.support.servers.apache_kafka import KafkaCluster
from tests.support.servers.java import jars, missing
from tests.support.servers.servers import running
from tests.support.worlds.ridelog import Ridelog, ridelog

# A little more than the target, because the load of 30 s takes a little more than 30 s to answer.
RATE = 10_500
SECONDS = 30
WITHIN_S = 300.0

Kafka = dict[str, list[psutil.Process]]


def measure(one: Ridelog, kafka: Kafka, rate: int, seconds: int) -> dict[str, Any]:
    info, root = one.info, psutil.Process(one.process.pid)
    before, started = by_program(root, kafka), time.perf_counter()
    with clients(2) as run, farthest_behind(info) as farthest:
        load = run.submit(send, info.http_url, rate, seconds)
        probing = run.submit(probe, info.http_url, info.redis_url, seconds)
        sent = load.result(seconds + WITHIN_S)
        stopped = time.perf_counter()
        probed = probing.result(seconds + WITHIN_S)
    pings = sent.accepted + probed.accepted
    visible = max(stopped, wait_folded(info, SPEED, pings, WITHIN_S))
    # The cost of a ping includes every projection that folds it, and a projection that cannot keep up must show.
    of_riders = of_stream("Rider").values()
    behind = {one.name: max(stopped, wait_folded(info, one, pings, WITHIN_S)) - stopped for one in of_riders}
    spent, took = by_program(root, kafka), time.perf_counter() - started
    requests, fresh = spread(sent.took), spread(probed.fresh)
    return {
        "offered, pings/s": float(rate),
        "acknowledged, pings/s": sent.accepted / sent.seconds,
        "visible in Redis, pings/s": sent.accepted / (sent.seconds + visible - stopped),
        "freshness p50, ms": fresh.p50,
        "freshness p99, ms": fresh.p99,
        "freshness, longest, ms": fresh.longest,
        **{f"{name} at most behind, s of the load": events / rate for name, events in farthest.items()},
        "request p50, ms": requests.p50,
        "request p99, ms": requests.p99,
        "client late, p99, ms": spread(sent.late).p99,
        **{f"{name} behind when the load stopped, s": seconds for name, seconds in behind.items()},
        **a_ping(before, spent, pings),
        "CPU µs a ping, clients": (sent.cpu_s + probed.cpu_s) / pings * 1e6,
        "cores busy with us, clients included": (sum(spent.values()) - sum(before.values()) + sent.cpu_s + probed.cpu_s)
        / took,
    }


@contextmanager
def apache(folder: Path) -> Iterator[tuple[dict[str, Any], Kafka]]:
    """Settings for a broker of Apache Kafka, and its process."""
    lacking = missing()
    if lacking is not None:
        raise SystemExit(lacking)
    with running(KafkaCluster(folder, jars("kafka"))) as cluster:
        processes = [psutil.Process(node.pid) for node in cluster.nodes]
        yield {"kafka_bootstrap": cluster.url}, {"kafka": processes}


@contextmanager
def embedded(_folder: Path) -> Iterator[tuple[dict[str, Any], Kafka]]:
    """What ``serve`` starts by itself."""
    yield {}, {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", choices=("embedded", "apache"), default="embedded")
    parser.add_argument("--rate", type=int, default=RATE, help="pings offered a second")
    parser.add_argument("--seconds", type=int, default=SECONDS)
    options = parser.parse_args()
    broker = apache if options.kafka == "apache" else embedded
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with broker(folder) as (settings, kafka), ridelog(folder / "data", **settings) as one:
            figures = measure(one, kafka, options.rate, options.seconds)
    targets = {"visible in Redis, pings/s": at_least(10_000), "freshness p99, ms": at_most(1_000)}
    report(f"end_to_end {options.kafka}", figures, targets)


if __name__ == "__main__":
    main()
