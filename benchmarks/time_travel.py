"""Reads the past of one rider over HTTP, at 10,000, 100,000 and 1,000,000 pings; replays 10,000,000 events.

python -m benchmarks.time_travel [events of the replay, 0: none] [--sizes 10000,1000000]
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil

from benchmarks.support import START_MS, postgres, report
from domain.events.contracts import Codec
from domain.gps_ping import parse_ping, record_of
from domain.identifiers import aggregate_id
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.schema_registry.client import schema_ids
from infrastructure.settings.settings import Settings
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.ridelog import ridelog as running

SIZES = (10_000, 100_000, 1_000_000)
READS = 300
# Not a multiple of the versions between two state snapshots: otherwise the axis known would have nothing to fold.
BATCH = 1_900
STEP_MS = 1_000


class Writer:
    """Appends pings directly to the event store, with a simulated clock: an hour of history takes seconds."""

    def __init__(self, postgres_url: str) -> None:
        self._engine = writer_engine(postgres_url)
        self.now_ms = START_MS
        self._recorder = EventRecorder(self._engine, clock=lambda: self.now_ms)
        reader = reader_engine(postgres_url)
        self._codec = Codec(schema_ids(Settings(postgres_url=postgres_url), reader))
        self._versions: dict[str, int] = {}

    def write(self, riders: list[str], pings: int) -> None:
        """Write ``pings`` of the riders in turn: one per rider and second, one in a hundred a minute late."""
        chance = random.Random(1)
        for first in range(0, pings, BATCH):
            events = [self._event(riders, first + n, chance) for n in range(min(BATCH, pings - first))]
            self.now_ms = START_MS + (first + BATCH) // len(riders) * STEP_MS + 500
            self._recorder.insert_events(events)

    def _event(self, riders: list[str], number: int, chance: random.Random) -> LogEvent:
        key = riders[number % len(riders)]
        version = self._versions[key] = self._versions.get(key, 0) + 1
        late_ms = 60_000 if chance.random() < 0.01 else 0
        t_ms = START_MS + number // len(riders) * STEP_MS - late_ms
        item = {
            "rider_id": key,
            "latitude": 52.5 + (number % 1000) / 1e5,
            "longitude": 13.4,
            "event_timestamp_ms": t_ms,
            "accuracy_meters": 5,
            "event_id": str(UUID(int=chance.getrandbits(128), version=4)),
        }
        ping = parse_ping(item, t_ms + late_ms)
        payload = self._codec.encode("GpsPing", record_of(ping))
        identity = (aggregate_id("Rider", key), version, "GpsPing", payload, "Rider", key)
        return LogEvent(*identity, UUID(ping.event_id), ping.event_timestamp_ms)


def caught_up(ridelog: Ridelog, pings: int) -> None:
    """Wait until the speed is caught up. Three projections fold everything: minutes for the largest size."""

    def is_caught_up() -> bool:
        speed = ridelog.speed("anna", allow_expired=True)
        return speed is not None and speed["version"] >= pings

    eventually(is_caught_up, within_s=1_800, every_s=1.0, what="speed is caught up")


def timed_reads(url: str, rider: str, pings: int, query: str) -> list[float]:
    """Milliseconds of reads at random instants of the rider's history."""
    chance = random.Random(pings)
    took = []
    with httpx.Client(base_url=url, timeout=60.0) as client:
        for _ in range(READS):
            at_ms = START_MS + chance.randrange(pings) * STEP_MS
            began = time.perf_counter()
            answer = client.get(f"/riders/{rider}/speed?at={at_ms}&axis={query}&allow_expired=true")
            took.append((time.perf_counter() - began) * 1000)
            # In the first two seconds no ping is known yet.
            assert answer.status_code in {200, 404}, answer.text
    return sorted(took)


def one_key(sizes: Sequence[int]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for pings in sizes:
        with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "data") as ridelog:
            Writer(ridelog.info.postgres_url or "").write(["anna"], pings)
            caught_up(ridelog, pings)
            url = ridelog.info.http_url
            for axis in ("known", "event"):
                took = timed_reads(url, "anna", pings, axis)
                name = f"one rider of {pings:,} pings, axis {axis}, ms over HTTP"
                figures[f"{name}: p50"] = statistics.median(took)
                figures[f"{name}: p99"] = took[int(0.99 * len(took))]
    return figures


def all_keys(events: int) -> dict[str, Any]:
    """Run the command and observe it from outside: its rate, and the peak memory of all its processes together."""
    with tempfile.TemporaryDirectory() as folder, postgres() as url:
        Writer(url).write([f"rider-{n}" for n in range(10_000)], events)
        figures: dict[str, Any] = {}
        for workers in (1, 2):
            out = Path(folder) / f"{workers}.parquet"
            options = ["--workers", str(workers), "--allow-expired"]
            began = time.perf_counter()
            process = psutil.Popen(
                [sys.executable, "app.py", "replay", "speed", "--position", str(events), "--out", str(out), *options],
                cwd=ROOT,
                env={**os.environ, "RIDELOG_POSTGRES_URL": url},
            )
            most = cpu = 0.0
            while process.poll() is None:
                most = max(most, _memory(process))
                cpu = max(cpu, _cpu(process))
                time.sleep(0.5)  # sampling interval of its memory
            assert process.returncode == 0
            seconds = time.perf_counter() - began
            name = f"replay of {events:,} events, {workers} worker(s)"
            figures[f"{name}: events/s"] = events / seconds
            figures[f"{name}: events/s a CPU second of Python"] = events / max(cpu, 1e-9)
            figures[f"{name}: peak memory of all processes, MB"] = most / 1e6
    return figures


def _memory(process: psutil.Process) -> float:
    try:
        return float(sum(p.memory_info().rss for p in [process, *process.children(recursive=True)]))
    except psutil.Error:
        return 0.0


def _cpu(process: psutil.Process) -> float:
    try:
        times = [p.cpu_times() for p in [process, *process.children(recursive=True)]]
    except psutil.Error:
        return 0.0
    return float(sum(t.user + t.system for t in times))


def _sizes(given: str) -> list[int]:
    return [int(size) for size in given.split(",")]


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.time_travel")
    parser.add_argument("events", nargs="?", type=int, default=10_000_000, help="of the replay of all keys; 0: none")
    parser.add_argument("--sizes", type=_sizes, default=SIZES, help="pings of the one rider, as in 10000,1000000")
    options = parser.parse_args(arguments)
    figures = one_key(options.sizes)
    report("time travel", figures | (all_keys(options.events) if options.events else {}))


if __name__ == "__main__":
    main(sys.argv[1:])
