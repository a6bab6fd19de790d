"""The speed projection in the runner and on Flink: events/s and CPU µs an event of each, over one log in one run.

python -m benchmarks.flink [--events N] [--riders N] [--warm-events N] [--only TEXT…] [--without TEXT…] [--no-rebuild]

Events are recorded and published while an engine runs; another program does that, and its CPU is not counted. The
runner is measured first and last, because the hour changes too. In between the job runs with gathered columns on one
and two TaskManagers, gathers for a shorter and a longer time, and calls Python once an event. Of a backlog, the
TaskManagers are suspended while the events are published: its batches are as large as those of a high rate. A
generation is filled from the event store by the runner's processes and by a bounded job, too.
--only measures the variants whose labels have one of the texts, --without those whose labels have none. Needs
`make flink`, Java 17 and Maven.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.cpu import seconds_of
from benchmarks.flink_variants import (
    COLUMNS,
    COMPILERS,
    ONE_CALL_VARIANT,
    PARALLELISM,
    VARIANTS,
    WITHIN_S,
    FlinkUnderTest,
    Variant,
)
from benchmarks.results import Target, at_most, report
from benchmarks.support import postgres, redis_server
from domain.identifiers import SHARDS
from infrastructure.flink.rebuild_fill import FoldOnFlink
from infrastructure.kafka.topics import ensure_topics
from infrastructure.operations.rebuild import FoldInProcesses
from infrastructure.settings.settings import Settings
from projections.speed import SPEED
from tests.support.faults.world import frozen
from tests.support.servers.apache_kafka import KafkaCluster
from tests.support.servers.flink_cluster import JobManager, missing_environment
from tests.support.servers.java import jars, missing
from tests.support.servers.servers import running
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually
from tests.support.worlds.flink_world import PublishedLog

WARM_EVENTS = 100_000
"""Folded before each measurement: caches are warm afterwards."""
MAX_WARM_ROUNDS, MAX_COMPILERS_SHARE = 5, 0.05
"""The warm events are published again, at most so often, while the JVM's compilers take more than this share of a core.
In its first minute a TaskManager spends most of its CPU on them: 3.7 of 10 s, where its tasks took 0.6 s."""
HEARTBEAT_TIMEOUT_MS = 600_000
"""A TaskManager that is suspended while a backlog is published must not be taken for one that has ended."""
ONE_CALL_SHARE = 5
"""One call an event costs so much more that a part of the events is enough."""
MAX_RATIO, MAX_REBUILD_US = 1.6, 75.0
"""Targets: CPU of an event on Flink as a multiple of the runner's; CPU µs an event of a bounded rebuild by shard."""

CpuSeconds = Callable[[], Mapping[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--riders", type=int, default=20_000)
    parser.add_argument("--warm-events", type=int, default=WARM_EVENTS)
    parser.add_argument("--only", nargs="+", default=[""])
    parser.add_argument("--without", nargs="+", default=[])
    parser.add_argument("--no-rebuild", action="store_true")
    options = parser.parse_args()
    if (lacking := missing_environment() or missing()) is not None:
        raise SystemExit(lacking)
    figures: dict[str, float] = {}
    with (
        tempfile.TemporaryDirectory() as name,
        postgres() as postgres_url,
        redis_server() as redis_url,
        running(KafkaCluster(Path(name) / "kafka", jars("kafka"))) as kafka,
        running(JobManager(Path(name), heartbeat_timeout_ms=HEARTBEAT_TIMEOUT_MS)) as jobmanager,
    ):
        settings = Settings(
            data_dir=Path(name), postgres_url=postgres_url, redis_url=redis_url, kafka_bootstrap=kafka.url
        )
        ensure_topics(settings)
        log = PublishedLog(settings, options.riders)
        servers = Servers()
        load = Load(log, options.events, options.warm_events)
        with runner(settings) as cpu:
            figures |= measured("runner", load, cpu, servers)
        flink = FlinkUnderTest(settings, Path(name), jobmanager)
        for variant in chosen(options.only, options.without):
            of_variant = load.part(ONE_CALL_SHARE) if variant is ONE_CALL_VARIANT else load
            with flink.with_taskmanagers(variant.taskmanagers, PARALLELISM), flink.job(variant):
                pids = [one.pid for one in flink.taskmanagers if one.pid is not None] if variant.backlog else []
                figures |= measured(variant.label, of_variant, flink.cpu, servers, pids)
            if variant is COLUMNS and not options.no_rebuild:
                figures |= rebuilds(flink, log, servers)
        with runner(settings) as cpu:
            figures |= measured("runner, last", load, cpu, servers)
        assert log.stored(SPEED) == log.folded(SPEED), "the states differ from the pure fold"
        log.close()
    figures |= ratios(figures)
    report("flink", figures, {label: target for label, target in TARGETS.items() if label in figures})


def chosen(only: Sequence[str], without: Sequence[str]) -> list[Variant]:
    """The variants whose labels have one of the first texts, and none of the others."""
    found = [one for one in VARIANTS if any(text in one.label for text in only)]
    return [one for one in found if not any(text in one.label for text in without)]


class Load(NamedTuple):
    """``events`` are measured after ``warm_events``."""

    log: PublishedLog
    events: int
    warm_events: int

    def part(self, share: int) -> Load:
        """The same with one of ``share`` events."""
        return Load(self.log, self.events // share, self.warm_events // share)


class Servers:
    """The CPU of the stores that the engines use."""

    def __init__(self) -> None:
        found = psutil.Process().children(recursive=True)
        self._named = {
            name: [one for one in found if part in one.name()]
            for name, part in (("Valkey", "valkey"), ("Postgres", "postgres"))
        }

    def cpu(self) -> dict[str, float]:
        """CPU seconds by server; Postgres with the backends that it has now and those that have ended."""
        mains = self._named["Postgres"]
        backends = {child for one in mains for child in one.children()}
        return {"Valkey": seconds_of(self._named["Valkey"]), "Postgres": seconds_of({*mains, *backends})}


IN_ALL = ": CPU µs an event, in all"
RATIO, ONE_CALL_RATIO = "Flink's CPU of an event / the runner's", "one call an event / columns"
REBUILD_RATIO = "rebuild on Flink / by processes"
FLINK_REBUILD = "rebuild on Flink: CPU µs an event"
TARGETS: dict[str, Target] = {RATIO: at_most(MAX_RATIO), FLINK_REBUILD: at_most(MAX_REBUILD_US)}


def ratios(figures: Mapping[str, float]) -> dict[str, float]:
    """The ratios of what one run has measured. The runner's figure is the mean of its two measurements."""

    totals = {label.removesuffix(IN_ALL): figure for label, figure in figures.items() if label.endswith(IN_ALL)}
    runners = (totals["runner"] + totals["runner, last"]) / 2
    found = {f"CPU of an event / the runner's, {label}": total / runners for label, total in totals.items()}
    if COLUMNS.label in totals:
        found[RATIO] = found.pop(f"CPU of an event / the runner's, {COLUMNS.label}")
    if ONE_CALL_VARIANT.label in totals and COLUMNS.label in totals:
        found[ONE_CALL_RATIO] = totals[ONE_CALL_VARIANT.label] / totals[COLUMNS.label]
    if FLINK_REBUILD in figures:
        found[REBUILD_RATIO] = figures[FLINK_REBUILD] / figures["rebuild by processes: CPU µs an event"]
    return found


@contextmanager
def runner(settings: Settings) -> Iterator[CpuSeconds]:
    """The process that `serve` would run for the projection."""
    command = [sys.executable, str(ROOT / "app.py"), "process", "projections", "--of", SPEED.name]
    process = subprocess.Popen(command, env={"PATH": "/usr/bin:/bin", **settings.environment()})
    try:
        yield lambda: {"worker": seconds_of([psutil.Process(process.pid)])}
    finally:
        process.terminate()
        process.wait(60)


def measured(
    engine: str, load: Load, cpu: CpuSeconds, servers: Servers, suspended: Sequence[int] = ()
) -> dict[str, float]:
    """Publish the events and wait until all are folded. ``suspended``: processes that stand still meanwhile."""
    log, events = load.log, load.events
    # One call an event is not keyed by partition: heartbeats let each subtask hold all shards, and the sum is larger.
    eventually(lambda: log.shards_held(SPEED.name) >= SHARDS, within_s=WITHIN_S, what=f"{engine} holds all shards")
    warm(engine, load, cpu)
    before = {**cpu(), "Valkey": servers.cpu()["Valkey"]}
    started = time.perf_counter()
    with frozen(suspended):
        log.publish(events)
        if suspended:
            started = time.perf_counter()
    eventually(lambda: log.behind(SPEED) == 0, within_s=WITHIN_S, every_s=0.2, what=f"{engine} has caught up")
    took_s = time.perf_counter() - started
    after = {**cpu(), "Valkey": servers.cpu()["Valkey"]}
    spent = {name: (after[name] - before[name]) / events * 1e6 for name in after}
    found = {
        f"{engine}: events/s": events / took_s,
        **{f"{engine}: CPU µs an event, {name}": value for name, value in spent.items()},
        f"{engine}{IN_ALL}": sum(spent.values()),
    }
    print({label: round(value, 1) for label, value in found.items()}, flush=True)
    return found


def warm(engine: str, load: Load, cpu: CpuSeconds) -> None:
    """Publish the warm events, and again until the compilers of the JVM have little left to do."""
    for _ in range(MAX_WARM_ROUNDS):
        compiled, started = cpu().get(COMPILERS, 0.0), time.perf_counter()
        load.log.publish(load.warm_events)
        eventually(lambda: load.log.behind(SPEED) == 0, within_s=WITHIN_S, what=f"{engine} has caught up")
        if cpu().get(COMPILERS, 0.0) - compiled <= MAX_COMPILERS_SHARE * (time.perf_counter() - started):
            break


def rebuilds(flink: FlinkUnderTest, log: PublishedLog, servers: Servers) -> dict[str, float]:
    """Fill generations 2 and 3 from the event store: by processes here, and by a bounded job. Starting is counted."""
    head = log.backends.log.head(SPEED.stream)
    targets, events = dict(enumerate(head.seqs)), sum(head.seqs)
    figures: dict[str, float] = {"rebuild: events": float(events)}

    def filled(label: str, cpu: Callable[[], float], fill: Callable[[], None]) -> None:
        before, of_servers, started = cpu(), servers.cpu(), time.perf_counter()
        fill()
        figures[f"{label}: events/s"] = events / (time.perf_counter() - started)
        figures[f"{label}: CPU µs an event"] = (cpu() - before) / events * 1e6
        for name, seconds in servers.cpu().items():
            figures[f"{label}: CPU µs an event, {name} besides"] = (seconds - of_servers[name]) / events * 1e6

    here = FoldInProcesses(flink.settings, SPEED, PARALLELISM)
    # Of this process and of its children that have ended.
    own = [psutil.Process()]
    assert [log.backends.generations.begin(SPEED).number for _ in range(2)] == [2, 3]
    filled("rebuild by processes", lambda: seconds_of(own), lambda: here.fill(2, targets, lambda: None))
    with flink.with_taskmanagers(1, PARALLELISM):
        there = FoldOnFlink(flink.client, flink.cluster, flink.settings.environment(), SPEED.name, PARALLELISM)
        filled("rebuild on Flink", lambda: sum(flink.cpu().values()), lambda: there.fill(3, targets, lambda: None))
    print({label: round(value, 1) for label, value in figures.items()}, flush=True)
    assert log.stored(SPEED, 2) == log.stored(SPEED, 3) == log.stored(SPEED), "the rebuilt states differ"
    return figures


if __name__ == "__main__":
    main()
