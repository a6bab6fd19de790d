"""Makes a training set of a simulated city: events and rows a second, one worker against two, and memory.

python -m benchmarks.training_set [--events 1000000] [--every-s 60] [--axis known] [--workers 1,2] [--folder FOLDER]

``--folder`` has a log that `training_log` made before. On a machine that does other work too, read the ratio in CPU
seconds: those of one worker ÷ those of the busier of two.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.results import at_least, at_most
from benchmarks.support import START_MS, postgres, report
from domain.deliveries.joint_backfill import JointBackfill
from infrastructure.backends import open_backends
from infrastructure.operations.training_set import make_eta_set
from infrastructure.operations.training_set_request import resolve
from infrastructure.settings.settings import Settings
from infrastructure.simulator.demand import Demand
from infrastructure.simulator.receptions import receptions
from infrastructure.simulator.scenario import Scenario
from infrastructure.simulator.world import SimulatedWorld, all_actions
from infrastructure.training_sets.eta_set import EtaManifest, EtaRule
from projections.replay.as_of import Axis

DURATION_S = 3 * 3_600.0
PING_INTERVAL_S = 5.0
ORDERS_PER_RIDER_HOUR = 2.0
BATCH_ITEMS = 5_000
SAMPLE_INTERVAL_S = 0.2
GIB = 1 << 30


class Run(NamedTuple):
    """One run. ``cpu_s``: of the command and its workers, without Postgres; ``peak_bytes``: the most of all at once.

    ``busiest_cpu_s``: of the worker with the most. ``stage_s``: seconds of each pass.
    """

    manifest: EtaManifest
    seconds: float
    cpu_s: float
    busiest_cpu_s: float
    peak_bytes: int
    stage_s: dict[str, float]
    sha256: str


class _Sampler(threading.Thread):
    """Samples the unique memory of this process and its children, which share pages of mapped files, and their CPU."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._before = _unique(psutil.Process())
        self.peak = 0
        self.cpu_s: dict[int, float] = {}
        """By process id of a child, as last seen."""
        self.own_cpu_s = 0.0
        self.ended = threading.Event()

    def run(self) -> None:
        me = psutil.Process()
        while not self.ended.wait(SAMPLE_INTERVAL_S):
            self.own_cpu_s = time.thread_time()
            children = [one for one in me.children(recursive=True) if "postgres" not in _name(one)]
            # What the benchmark held before the run, such as the simulator's city, is not of the command.
            self.peak = max(self.peak, _unique(me) - self._before + sum(_unique(one) for one in children))
            for one in children:
                with suppress(psutil.Error):
                    self.cpu_s[one.pid] = sum(one.cpu_times()[:2])


def _unique(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except psutil.Error:
        return 0


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return "postgres"


def fill(settings: Settings, events: int) -> int:
    """Record about so many events of a simulated city. Returns the last position."""
    riders = max(5, round(events * PING_INTERVAL_S / DURATION_S))
    demand = Demand(orders_per_hour=riders * ORDERS_PER_RIDER_HOUR, restaurants=max(10, riders // 10))
    scenario = Scenario("training set", START_MS, DURATION_S, riders, demand=demand)
    items: Iterator[Any] = (each.item for each in receptions(all_actions(SimulatedWorld(scenario)), scenario))
    with open_backends(settings) as backends:
        joint = JointBackfill(backends.riders)
        while batch := list(islice(items, BATCH_ITEMS)):
            joint.record(batch)
        return backends.log.head("Rider").position


def run(settings: Settings, rule: EtaRule, axis: Axis, workers: int, out: Path) -> Run:
    """Make the set once."""
    stage_s: dict[str, float] = {}
    began = time.perf_counter()

    def show(stage: str, *_counts: object) -> None:
        stage_s[stage] = time.perf_counter() - began - sum(s for name, s in stage_s.items() if name != stage)

    sampler, cpu = _Sampler(), sum(os.times()[:4])
    sampler.start()
    request = resolve(settings, rule, axis, None)
    made = make_eta_set(settings, request, out, workers, show, min_events=0)
    seconds = time.perf_counter() - began
    sampler.ended.set()
    sampler.join()
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(out.iterdir()))).hexdigest()
    cpu_s, busiest_s = sum(os.times()[:4]) - cpu - sampler.own_cpu_s, max(sampler.cpu_s.values(), default=0.0)
    return Run(made.manifest, seconds, cpu_s, busiest_s, sampler.peak, stage_s, digest)


def figures(events: int, rule: EtaRule, axis: Axis, workers: list[int], log_folder: Path | None) -> dict[str, Any]:
    """Make the set with each number of workers. Raises RuntimeError if the bytes differ.

    ``log_folder``: has a Postgres with a log; None: a log of about ``events`` events is recorded.
    """
    found: dict[str, Any] = {}
    with postgres(log_folder) as url, tempfile.TemporaryDirectory() as folder:
        settings = Settings(postgres_url=url)
        if log_folder is None:
            began = time.perf_counter()
            fill(settings, events)
            found["seconds to record the log"] = time.perf_counter() - began
        runs = {number: run(settings, rule, axis, number, Path(folder) / f"{number}") for number in workers}
    if len({one.sha256 for one in runs.values()}) != 1:
        raise RuntimeError(f"the bytes differ: {[one.sha256 for one in runs.values()]}")
    first = runs[workers[0]]
    found |= {"events": first.manifest.events, "rows": first.manifest.rows, "orders": first.manifest.orders}
    for number, one in runs.items():
        name = f"{number} worker{'s' if number > 1 else ''}"
        found[f"{name}: seconds"] = one.seconds
        found[f"{name}: events/s a core of CPU"] = one.manifest.events / one.cpu_s
        found[f"{name}: rows/s"] = one.manifest.rows / one.seconds
        found[f"{name}: CPU seconds"] = one.cpu_s
        found[f"{name}: CPU seconds of the busiest worker"] = one.busiest_cpu_s
        found[f"{name}: peak memory, GiB"] = one.peak_bytes / GIB
        found |= {f"{name}: seconds of {stage}": seconds for stage, seconds in one.stage_s.items()}
    if len(workers) > 1:
        found[RATIO] = first.seconds / runs[workers[1]].seconds
        found[CPU_RATIO] = first.busiest_cpu_s / max(runs[workers[1]].busiest_cpu_s, 0.001)
    return found


RATIO = "rate of the second number of workers ÷ the first"
CPU_RATIO = f"{RATIO}, by the CPU seconds of the busiest worker"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--every-s", type=int, default=60)
    parser.add_argument("--axis", choices=["known", "position", "event"], default="known")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--folder", type=Path, help="where `training_log` made a log, instead of a new one")
    given = parser.parse_args()
    rule = EtaRule("every", every_ms=given.every_s * 1_000)
    workers = [int(number) for number in given.workers.split(",")]
    found = figures(given.events, rule, given.axis, workers, given.folder)
    targets = {name: at_most(1.0) for name in found if name.endswith("peak memory, GiB")}
    if RATIO in found:
        targets |= {RATIO: at_least(1.7), CPU_RATIO: at_least(1.7)}
    report("training_set", found, targets)


if __name__ == "__main__":
    main()
