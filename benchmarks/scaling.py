"""What a cluster for a number of pings a second needs, computed from measured costs: the tables of docs/scaling.md.

``python -m benchmarks.scaling`` prints the tables in Markdown. Each input has a name, a value and the measurement that
it comes from; ``--set NAME=VALUE`` puts another value in its place, for example that of your own machine.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

RATES = (20_000, 200_000, 2_000_000)
"""Pings a second at the peak."""


class Input(NamedTuple):
    """A value, its unit, and where it is from: ``measured`` names the run, ``chosen`` the reason."""

    value: float
    unit: str
    source: str


INPUTS: dict[str, Input] = {
    # CPU of one ping, by stage.
    "api_us": Input(40, "CPU µs a ping", "performance.md, where 170 to 180 µs go (`end_to_end`)"),
    "postgres_us": Input(23, "CPU µs a ping", "the same; without the tables of projections ~15"),
    "kafka_us": Input(14, "CPU µs a ping", "the same; brokers without replication"),
    "tailer_us": Input(12, "CPU µs a ping", "the same; alone 7.6 to 13.9 (`tailer`)"),
    "redis_us": Input(6, "CPU µs a ping", "the same; two projections"),
    "serving_us": Input(
        105,
        "CPU µs a ping",
        "speed 24, locations 15 (performance.md, 1,000 at once); traffic 28.5, payouts 39.5, completion 37.5 "
        "(`footprint`) ÷ 1.6, as that hour was slow: speed, locations and analytics took 1.5 to 2.0 times as much",
    ),
    "analysts_us": Input(71, "CPU µs a ping", "analytics 45 (performance.md); spoofing 42 (`footprint`) ÷ 1.6"),
    "slowest_us": Input(45, "CPU µs a ping", "analytics"),
    "flink_ratio": Input(
        1.52,
        "× the CPU of our runner",
        "58.0 to 38.3 µs at 11,000 events/s (`flink`), of a job that has run for four minutes; 1.06 of a backlog",
    ),
    # What one unit of a stage does at most.
    "log_events_s": Input(40_300, "events/s", "`append` on the worst day; 89,300 in a good hour"),
    "tailer_events_s": Input(59_300, "events/s", "`tailer` on the worst day; 122,000 in a good hour"),
    # Reads.
    "reads_a_ping": Input(0.1, "speed reads a ping", "chosen: one ETA asks for a rider about every 10 pings"),
    "read_us": Input(140, "CPU µs a read", "`read_cost` at 2,000/s"),
    # Sizes.
    "ping_interval_s": Input(5, "s", "chosen: a phone sends a ping each 5 s"),
    "event_bytes": Input(465, "bytes a ping", "`footprint`: table and indexes"),
    "wal_bytes": Input(619, "bytes a ping", "`footprint`"),
    "record_bytes": Input(250, "bytes a ping", "payload 96 (`footprint`), key, five headers and their lengths"),
    "rider_bytes": Input(
        935, "bytes a rider in Redis", "`footprint`: speed 752, locations 109, traffic 74; orders come on top"
    ),
    "kafka_days": Input(2, "days", "chosen: the event store is the archive, the topic a window"),
    "store_days": Input(30, "days", "chosen: older partitions are detached"),
    "average_share": Input(0.4, "of the peak", "chosen: mean of a day / its peak"),
    # Margins.
    "busy": Input(0.6, "of a core", "chosen: at 1.0 freshness p99 is 1 s (performance.md), so plan for less"),
    "slow_hour": Input(2.0, "×", "performance.md: 355 µs a ping in a slow hour, 180 in a good one"),
    "replicas": Input(2, "copies", "chosen: one replica of each Redis primary and of each Postgres"),
    "brokers_copies": Input(3, "copies", "chosen: `default.replication.factor=3`"),
    "redis_node_gib": Input(16, "GiB", "chosen; half of it is left free, as a node forks to copy itself"),
    "worker_mib": Input(
        200, "MiB", "chosen, for an API process or a worker: a worker's caches are bounded; not measured here"
    ),
}
"""The inputs of every table."""
SHARDS = 64
"""Most workers of one projection on one log: a shard has one writer."""
GIB, TB = 2**30, 1e12


@dataclass(frozen=True)
class Cluster:
    """What ``rate`` pings a second need. ``cores``: by stage, at the peak of a good hour with the margin ``busy``."""

    rate: int
    riders: int
    logs: int
    tailers: int
    cores: Mapping[str, float]
    workers_of_slowest: int
    redis_primaries: int
    redis_gib: float
    processes_gib: float
    event_store_tb: float
    wal_mb_s: float
    kafka_tb: float
    flink_cores: float

    @property
    def all_cores(self) -> int:
        return math.ceil(sum(self.cores.values()))


def plan(rate: int, values: Mapping[str, float]) -> Cluster:
    """The cluster for ``rate`` pings a second. Pure."""
    v = values

    def cores(us: float, events_s: float = rate) -> float:
        return us * events_s / 1e6 / v["busy"]

    logs = math.ceil(rate / v["log_events_s"])
    riders = round(rate * v["ping_interval_s"])
    reads = cores(v["read_us"], rate * v["reads_a_ping"])
    by_stage = {
        "ingest (API)": cores(v["api_us"]),
        "reads (API)": reads,
        "event store (Postgres, with its standby)": cores(v["postgres_us"]) * v["replicas"],
        "tailers": cores(v["tailer_us"]),
        "Kafka (3 copies)": cores(v["kafka_us"]) * v["brokers_copies"],
        "projections that serve": cores(v["serving_us"]),
        "projections for analysts": cores(v["analysts_us"]),
        "Redis (with replicas)": cores(v["redis_us"]) * v["replicas"],
    }
    # Twice the states: a node copies itself to its replica, and rewrites its file.
    state_gib = riders * v["rider_bytes"] * 2 / GIB
    primaries = logs * math.ceil(max(cores(v["redis_us"], rate / logs), state_gib / logs / v["redis_node_gib"]))
    processes = by_stage["ingest (API)"] + reads + by_stage["tailers"]
    processes += by_stage["projections that serve"] + by_stage["projections for analysts"]
    a_day = rate * v["average_share"] * 86_400
    return Cluster(
        rate=rate,
        riders=riders,
        logs=logs,
        tailers=math.ceil(rate / v["tailer_events_s"]),
        cores=by_stage,
        workers_of_slowest=math.ceil(cores(v["slowest_us"])),
        redis_primaries=primaries,
        redis_gib=state_gib * v["replicas"],
        processes_gib=math.ceil(processes) * v["worker_mib"] / 1024,
        event_store_tb=a_day * v["store_days"] * v["event_bytes"] * v["replicas"] / TB,
        wal_mb_s=rate * v["wal_bytes"] / 1e6,
        kafka_tb=a_day * v["kafka_days"] * v["record_bytes"] * v["brokers_copies"] / TB,
        flink_cores=(by_stage["projections that serve"] + by_stage["projections for analysts"]) * v["flink_ratio"],
    )


def limits(values: Mapping[str, float]) -> dict[str, tuple[float, str]]:
    """What is full at how many pings a second, with what is done then, by rising rate. Pure."""
    v = values
    everything = sum(
        v[f"{stage}_us"] for stage in ("api", "postgres", "kafka", "tailer", "redis", "serving", "analysts")
    )
    one_core = v["busy"] * 1e6
    found = {
        "two cores with everything, seven projections": (
            2e6 / everything,
            "a machine for each stage (`serve --only …`)",
        ),
        "one worker of both projections for analysts": (
            one_core / v["analysts_us"],
            "a worker for each, then several",
        ),
        "one worker of all five projections that serve": (
            one_core / v["serving_us"],
            "a worker for each, then several",
        ),
        "one API process": (one_core / v["api_us"], "more of them behind a balancer"),
        "one log": (v["log_events_s"], "a second log: a region of its own"),
        "one tailer": (v["tailer_events_s"], "a second log has its own"),
        "one Redis, its CPU": (one_core / v["redis_us"], "a Redis Cluster"),
        f"one Redis of {v['redis_node_gib']:g} GiB, its memory": (
            v["redis_node_gib"] * GIB / 2 / v["rider_bytes"] / v["ping_interval_s"],
            "a Redis Cluster",
        ),
        f"{SHARDS} workers of one projection": (SHARDS * one_core / v["slowest_us"], "a second log; it comes first"),
    }
    return dict(sorted(found.items(), key=lambda item: item[1][0]))


def tables(values: Mapping[str, float]) -> str:
    """The three tables in Markdown: what is full first, the clusters, and the inputs."""
    plans = [plan(rate, values) for rate in RATES]
    rows: list[tuple[str, Sequence[str]]] = [
        ("riders on the road", [f"{p.riders:,}" for p in plans]),
        ("logs (event stores)", [f"{p.logs:,}" for p in plans]),
        ("tailers, at least one a log", [f"{max(p.tailers, p.logs):,}" for p in plans]),
    ]
    rows += [(f"cores: {stage}", [f"{p.cores[stage]:,.1f}" for p in plans]) for stage in plans[0].cores]
    rows += [
        ("workers of the projection that costs most", [f"{p.workers_of_slowest:,}" for p in plans]),
        ("**cores in all**", [f"**{p.all_cores:,}**" for p in plans]),
        ("the same in a slow hour", [f"{math.ceil(p.all_cores * values['slow_hour']):,}" for p in plans]),
        ("the projections on Flink instead: their cores", [f"{p.flink_cores:,.1f}" for p in plans]),
        ("Redis primaries of all logs, each with a replica", [f"{p.redis_primaries:,}" for p in plans]),
        ("memory of Redis, GiB, at least", [f"{p.redis_gib:,.1f}" for p in plans]),
        ("memory of our processes, GiB", [f"{p.processes_gib:,.0f}" for p in plans]),
        ("WAL, MB/s", [f"{p.wal_mb_s:,.0f}" for p in plans]),
        ("disk of the event stores, TB", [f"{p.event_store_tb:,.1f}" for p in plans]),
        ("disk of Kafka, TB", [f"{p.kafka_tb:,.1f}" for p in plans]),
    ]
    head = [
        "| pings/s at the peak | " + " | ".join(f"{rate:,}" for rate in RATES) + " |",
        "|---|" + "---|" * len(RATES),
    ]
    clusters = [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows]
    full = ["| full | at pings/s | then |", "|---|---|---|"]
    full += [f"| {name} | {_rounded(rate):,} | {then} |" for name, (rate, then) in limits(values).items()]
    inputs = ["| input | value | from |", "|---|---|---|"]
    inputs += [f"| `{name}` | {values[name]:,g} {one.unit} | {one.source} |" for name, one in INPUTS.items()]
    return "\n".join([*full, "", *head, *clusters, "", *inputs])


def _rounded(rate: float) -> int:
    """To two digits: more would claim an exactness that no input has."""
    digits = 10 ** (len(str(round(rate))) - 2)
    return int(round(rate / digits) * digits)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="prints the tables of docs/scaling.md")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another value of an input")
    values = {name: one.value for name, one in INPUTS.items()}
    for given in parser.parse_args(arguments).set:
        name, _, value = given.partition("=")
        if name not in values:
            parser.error(f"there is no input {name!r}; there are: {', '.join(values)}")
        values[name] = float(value)
    sys.stdout.write(tables(values) + "\n")


if __name__ == "__main__":
    main()
