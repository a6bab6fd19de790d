"""What options of Java cost the job on Flink, and how soon the JVM's compilers come to rest: CPU µs an event by slice.

python -m benchmarks.flink_jvm [--seconds S] [--slice-s S] [--riders N] [--java NAME=OPTIONS …]

Each set of options has a TaskManager of its own, whose speed job folds events for S seconds from its start on. A slice
begins when the events of the one before are folded, so it is somewhat longer than it is asked to be. The runner folds
two slices first and last, of which one warms it: the ratios are to the mean of the other two. The configuration that
`make flink` has copied is in force as well. Without --java it is measured alone. Needs `make flink`, Java 17 and Maven.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.flink import CpuSeconds, Servers, runner
from benchmarks.flink_variants import COLUMNS, COMPILERS, PARALLELISM, WITHIN_S, flink_under_test
from benchmarks.results import report
from domain.identifiers import SHARDS
from projections.speed import SPEED
from tests.support.waiting import eventually
from tests.support.worlds.flink_world import PublishedLog

PUBLISHED_AT_ONCE = 20_000
IN_ALL = "in all"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--slice-s", type=float, default=30.0)
    parser.add_argument("--riders", type=int, default=20_000)
    parser.add_argument("--java", nargs="+", default=["Flink="], metavar="NAME=OPTIONS")
    options = parser.parse_args()
    slice_s, figures = options.slice_s, dict[str, float]()
    with flink_under_test() as flink:
        log, servers = PublishedLog(flink.settings, options.riders), Servers()
        with runner(flink.settings) as cpu:
            figures |= slices("runner", Slices(log, servers, slice_s, 2 * slice_s), cpu)
        for one in options.java:
            label, _, java = one.partition("=")
            with flink.with_taskmanagers(1, PARALLELISM, java), flink.job(COLUMNS):
                figures |= slices(label, Slices(log, servers, slice_s, options.seconds), flink.cpu)
        with runner(flink.settings) as cpu:
            figures |= slices("runner, last", Slices(log, servers, slice_s, 2 * slice_s), cpu)
        assert log.stored(SPEED) == log.folded(SPEED), "the states differ from the pure fold"
        log.close()
    report("flink_jvm", figures | ratios(figures))


class Slices(NamedTuple):
    """Slices of ``slice_s`` until ``seconds`` are over. The first one warms: its figures are not those of a ratio."""

    log: PublishedLog
    servers: Servers
    slice_s: float
    seconds: float


def slices(engine: str, wanted: Slices, cpu: CpuSeconds) -> dict[str, float]:
    """The figures of each slice, named by the second of the job's life at which it began."""
    log, servers = wanted.log, wanted.servers
    eventually(lambda: log.shards_held(SPEED.name) >= SHARDS, within_s=WITHIN_S, what=f"{engine} holds all shards")
    figures: dict[str, float] = {}
    began = time.perf_counter()
    while (at := time.perf_counter() - began) < wanted.seconds:
        recorded = log.recorded
        before = {**cpu(), "Valkey": servers.cpu()["Valkey"]}
        while time.perf_counter() - began - at < wanted.slice_s:
            log.publish(PUBLISHED_AT_ONCE)
        eventually(lambda: log.behind(SPEED) == 0, within_s=WITHIN_S, every_s=0.2, what=f"{engine} has caught up")
        after = {**cpu(), "Valkey": servers.cpu()["Valkey"]}
        took_s, events = time.perf_counter() - began - at, log.recorded - recorded
        spent = {name: (after[name] - before[name]) / events * 1e6 for name in after}
        found = {"events/s": events / took_s, **spent, IN_ALL: sum(spent.values())}
        if COMPILERS in after:
            found[f"{COMPILERS}, % of a core"] = (after[COMPILERS] - before[COMPILERS]) / took_s * 100
        figures |= {f"{engine}, from {at:.0f} s: {what}": value for what, value in found.items()}
        print(f"{engine}, {at:.0f} s", {what: round(value, 1) for what, value in found.items()}, flush=True)
    return figures


def ratios(figures: Mapping[str, float]) -> dict[str, float]:
    """What an event costs in each slice as a multiple of the runner's, whose first slices are left out."""
    totals = {label.removesuffix(f": {IN_ALL}"): one for label, one in figures.items() if label.endswith(IN_ALL)}
    warm = [one for label, one in totals.items() if label.startswith("runner") and not label.endswith("from 0 s")]
    runners = sum(warm) / len(warm)
    return {f"CPU of an event / the runner's, {label}": one / runners for label, one in totals.items()}


if __name__ == "__main__":
    main()
