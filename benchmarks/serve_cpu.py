"""CPU of a complete ``serve``: its start and an idle minute, by program, compared with an earlier commit in one run.

``--before``: the checkout of that commit, for example of ``git worktree add``. Both take turns, on a data directory of
their own that is new in the first turn. Each turn also measures the memory, and how fresh a speed is: from sending one
ping to an otherwise idle ``serve`` until the answer has it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.cpu import by_program
from benchmarks.results import report
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog

ROOT = Path(__file__).resolve().parent.parent
NOW, BEFORE = "now", "before"
SETTLED_S = 8.0
"""After readiness the consumer groups and the first audits settle."""
PINGS = 40
POLL_S = 0.005


class Turn(NamedTuple):
    """CPU seconds of the start by program, percent of a core while idle by program, MB, and milliseconds of pings."""

    start: Mapping[str, float]
    idle: Mapping[str, float]
    memory_mb: float
    fresh_ms: Sequence[float]


def turn(checkout: Path, data_dir: Path, idle_s: float) -> Turn:
    """Start, measure and stop one ``serve``."""
    one = Ridelog(data_dir, checkout)
    try:
        one.wait_ready(within_s=300)
        root = psutil.Process(one.process.pid)
        start = by_program(root, {})
        time.sleep(SETTLED_S)
        began, before = time.monotonic(), by_program(root, {})
        time.sleep(idle_s)
        after, took_s = by_program(root, {}), time.monotonic() - began
        idle = {name: 100 * (seconds - before.get(name, 0.0)) / took_s for name, seconds in after.items()}
        memory = sum(process.memory_full_info().pss for process in [root, *root.children(recursive=True)])
        return Turn(start, idle, memory / 1e6, [fresh_ms(one, number) for number in range(PINGS)])
    finally:
        one.stop()


def fresh_ms(one: Ridelog, number: int) -> float:
    """Milliseconds from sending a ping until the answer of the speed has it."""
    rider, at_ms = f"rider-{number}", time.time_ns() // 1_000_000
    began = time.monotonic()
    one.post([{"rider_id": rider, "latitude": 52.5, "longitude": 13.4, "event_timestamp_ms": at_ms}])
    eventually(lambda: one.speed(rider) is not None, within_s=60, every_s=POLL_S)
    return 1_000 * (time.monotonic() - began)


def figures(name: str, turns: Sequence[Turn]) -> dict[str, float]:
    """The medians of all turns of one checkout; the first start is that of a new data directory."""
    fresh = sorted(ms for one in turns for ms in one.fresh_ms)
    found = {
        f"{name}: first start, CPU s": sum(turns[0].start.values()),
        f"{name}: later start, CPU s": statistics.median(sum(one.start.values()) for one in turns[1:] or turns),
        f"{name}: idle, % of a core": statistics.median(sum(one.idle.values()) for one in turns),
        f"{name}: memory, MB": statistics.median(one.memory_mb for one in turns),
        f"{name}: ping to speed, p50 ms": statistics.median(fresh),
        f"{name}: ping to speed, p90 ms": fresh[int(0.9 * len(fresh))],
        f"{name}: ping to speed, p99 ms": fresh[int(0.99 * len(fresh))],
    }
    for program in sorted(turns[0].idle):
        found[f"{name}: idle, {program}"] = statistics.median(one.idle.get(program, 0.0) for one in turns)
        found[f"{name}: start, {program}"] = statistics.median(one.start.get(program, 0.0) for one in turns)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="the checkout to compare with")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--idle", type=float, default=40.0, help="seconds without a request")
    options = parser.parse_args()
    checkouts = {BEFORE: options.before, NOW: ROOT} if options.before else {NOW: ROOT}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        measured: dict[str, list[Turn]] = {name: [] for name in checkouts}
        for _ in range(options.turns):
            for name, checkout in checkouts.items():
                measured[name].append(turn(checkout.resolve(), Path(folder) / name, options.idle))
    found = {label: value for name, turns in measured.items() for label, value in figures(name, turns).items()}
    for label in [label.partition(": ")[2] for label in found if label.startswith(NOW)]:
        if found.get(f"{BEFORE}: {label}"):
            found[f"ratio: {label}"] = found[f"{NOW}: {label}"] / found[f"{BEFORE}: {label}"]
    report("serve_cpu", found)


if __name__ == "__main__":
    main()
