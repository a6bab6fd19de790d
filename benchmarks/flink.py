"""The speed projection in the runner and on Flink: events/s and CPU µs an event of each, over one log in one run.

python -m benchmarks.flink [--events N] [--riders N] [--warm-events N] [--warm-rounds N] [--rounds N] [--only TEXT…]
    [--without TEXT…] [--no-rebuild]

Events are recorded and published while an engine runs; another program does that, and its CPU is not counted. The job
runs with gathered columns on one and two TaskManagers, gathers for a shorter and a longer time, and calls Python once
an event. Of a backlog, the TaskManagers are suspended while the events are published: its batches are as large as those
of a high rate. The runner is measured in turns with each of them, because the machine changes too: in each round the
job folds half the events, then its processes are suspended and the runner folds as many. A generation is filled from
the event store by the runner's processes and by a bounded job, too.
--only measures the variants whose labels have one of the texts, --without those whose labels have none. Needs
`make flink`, Java 17 and Maven.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    flink_under_test,
)
from benchmarks.results import Target, at_most, report
from domain.identifiers import SHARDS
from infrastructure.flink.rebuild_fill import FoldOnFlink
from infrastructure.operations.rebuild import FoldInProcesses
from infrastructure.settings.settings import Settings
from projections.speed import SPEED
from tests.support.faults.world import frozen
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually
from tests.support.worlds.flink_world import PublishedLog

WARM_EVENTS = 100_000
"""Folded before each variant is measured: caches are warm afterwards."""
ROUNDS = 2
WARM_ROUNDS, MAX_COMPILERS_SHARE = 5, 0.02
"""The warm events are published again, at most so often, while the JVM's compilers take more than this share of a core.
In its first minute a TaskManager spends most of its CPU on them (``benchmarks/flink_jvm.py``)."""
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
    parser.add_argument("--warm-rounds", type=int, default=WARM_ROUNDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="+", default=[""])
    parser.add_argument("--without", nargs="+", default=[])
    parser.add_argument("--no-rebuild", action="store_true")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    with flink_under_test() as flink:
        log, servers = PublishedLog(flink.settings, options.riders), Servers()
        load = Load(log, servers, options.events, options.warm_events, options.warm_rounds, options.rounds)
        for variant in chosen(options.only, options.without):
            of_variant = load.part(ONE_CALL_SHARE) if variant is ONE_CALL_VARIANT else load
            with flink.with_taskmanagers(variant.taskmanagers, PARALLELISM), flink.job(variant):
                figures |= in_turns(variant, of_variant, flink)
        if not options.no_rebuild:
            figures |= rebuilds(flink, log, servers)
        assert log.stored(SPEED) == log.folded(SPEED), "the states differ from the pure fold"
        log.close()
    figures |= ratios(figures)
    report("flink", figures, {label: target for label, target in TARGETS.items() if label in figures})


def chosen(only: Sequence[str], without: Sequence[str]) -> list[Variant]:
    """The variants whose labels have one of the first texts, and none of the others."""
    found = [one for one in VARIANTS if any(text in one.label for text in only)]
    return [one for one in found if not any(text in one.label for text in without)]


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


class Load(NamedTuple):
    """``events`` are measured in ``rounds``, after ``warm_events``, which are published up to ``warm_rounds`` times."""

    log: PublishedLog
    servers: Servers
    events: int
    warm_events: int
    warm_rounds: int
    rounds: int

    @property
    def events_of_round(self) -> int:
        """Events that each engine folds in a round."""
        return self.events // self.rounds

    def part(self, share: int) -> Load:
        """The same with one of ``share`` events."""
        return self._replace(events=self.events // share, warm_events=self.warm_events // share)


OF = ": CPU µs an event, "
IN_ALL = f"{OF}in all"
BESIDE = "the runner beside it"
RATIO, ONE_CALL_RATIO = "Flink's CPU of an event / the runner's", "one call an event / columns"
REBUILD_RATIO = "rebuild on Flink / by processes"
FLINK_REBUILD = "rebuild on Flink: CPU µs an event"
TARGETS: dict[str, Target] = {RATIO: at_most(MAX_RATIO), FLINK_REBUILD: at_most(MAX_REBUILD_US)}


def ratios(figures: Mapping[str, float]) -> dict[str, float]:
    """The ratios of what one run has measured, each to the runner's figure of the same rounds."""
    totals = {label.removesuffix(IN_ALL): figure for label, figure in figures.items() if label.endswith(IN_ALL)}
    found = dict[str, float]()
    for label, total in totals.items():
        if (beside := totals.get(f"{label}, {BESIDE}")) is not None:
            ratio = RATIO if label == COLUMNS.label else f"CPU of an event / the runner's, {label}"
            found[ratio] = total / beside
            found[f"{ratio}, without the compilers"] = (total - figures[f"{label}{OF}{COMPILERS}"]) / beside
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


def in_turns(variant: Variant, load: Load, flink: FlinkUnderTest) -> dict[str, float]:
    """The figures of a variant, and those of the runner in the same rounds."""
    log, label = load.log, variant.label
    # One call an event is not keyed by partition: heartbeats let each subtask hold all shards, and the sum is larger.
    eventually(lambda: log.shards_held(SPEED.name) >= SHARDS, within_s=WITHIN_S, what=f"{label} holds all shards")
    warm(label, load, flink.cpu)
    jvms = [one.pid for one in flink.taskmanagers if one.pid is not None]
    rounds: dict[str, list[dict[str, float]]] = {label: [], f"{label}, {BESIDE}": []}
    for _ in range(load.rounds):
        rounds[label].append(measured(label, load, flink.cpu, jvms if variant.backlog else ()))
        with frozen(jvms), runner(flink.settings) as cpu:
            folded(load, load.events_of_round // 2, "the runner")
            rounds[f"{label}, {BESIDE}"].append(measured("the runner", load, cpu))
        # The job drops what the runner has folded; the events after it show that it has.
        folded(load, load.events_of_round // 2, label)
    found = {
        f"{engine}{what}": sum(one[what] for one in figures) / len(figures)
        for engine, figures in rounds.items()
        for what in figures[0]
    }
    print({what: round(value, 1) for what, value in found.items()}, flush=True)
    return found


def measured(engine: str, load: Load, cpu: CpuSeconds, suspended: Sequence[int] = ()) -> dict[str, float]:
    """Publish the events of a round and wait until all are folded. ``suspended``: processes that stand still meanwhile.
    Returns the figures by what they are of."""
    events, servers = load.events_of_round, load.servers
    before = {**cpu(), "Valkey": servers.cpu()["Valkey"]}
    started = time.perf_counter()
    with frozen(suspended):
        load.log.publish(events)
        if suspended:
            started = time.perf_counter()
    folded(load, 0, engine)
    took_s = time.perf_counter() - started
    after = {**cpu(), "Valkey": servers.cpu()["Valkey"]}
    spent = {name: (after[name] - before[name]) / events * 1e6 for name in after}
    return {
        ": events/s": events / took_s,
        **{f"{OF}{name}": value for name, value in spent.items()},
        IN_ALL: sum(spent.values()),
    }


def folded(load: Load, events: int, engine: str) -> None:
    """Publish ``events``, and wait until all of the log are folded."""
    load.log.publish(events)
    eventually(lambda: load.log.behind(SPEED) == 0, within_s=WITHIN_S, every_s=0.2, what=f"{engine} has caught up")


def warm(engine: str, load: Load, cpu: CpuSeconds) -> None:
    """Publish the warm events, and again until the compilers of the JVM have little left to do."""
    for number in range(1, load.warm_rounds + 1):
        compiled, started = cpu().get(COMPILERS, 0.0), time.perf_counter()
        folded(load, load.warm_events, engine)
        share = (cpu().get(COMPILERS, 0.0) - compiled) / (time.perf_counter() - started)
        print(f"{engine}: warm round {number}: {COMPILERS} take {share:.1%} of a core", flush=True)
        if share <= MAX_COMPILERS_SHARE:
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
