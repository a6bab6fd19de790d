"""Pings over HTTP until they are visible in Redis: rate acknowledged, rate folded, CPU a ping by process."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.support import report
from infrastructure.embedded.data_dir import read_run_info
from infrastructure.redis.connection import connect
from infrastructure.redis.sink import RedisSink

RATE = int(os.environ.get("RIDELOG_TEST_RATE", "10000"))
SECONDS = int(os.environ.get("RIDELOG_TEST_SECONDS", "15"))
BATCH = 200
RIDERS = 5_000


def send(url: str, number: int, of: int, results: Any) -> None:
    """One client: an open loop, so that a slow server does not slow the clock; lateness is part of the result."""
    every_s = BATCH * of / RATE
    acknowledged, late, latencies = 0, 0.0, []
    with httpx.Client(timeout=30.0) as client:
        start = time.time()
        for turn in range(int(SECONDS / every_s)):
            due = start + turn * every_s
            late = max(late, time.time() - due)
            while (wait := due - time.time()) > 0:
                time.sleep(wait)  # the pace of the load, not a wait for anything
            now_ms = time.time_ns() // 1_000_000
            base = (turn * of + number) * BATCH
            pings = [
                {
                    "rider_id": f"rider-{(base + n) % RIDERS}",
                    "latitude": 52.5,
                    "longitude": 13.4 + (base + n) % 1000 / 1e5,
                    "event_timestamp_ms": now_ms,
                    "accuracy_meters": 5,
                }
                for n in range(BATCH)
            ]
            started = time.perf_counter()
            answer = client.post(f"{url}/pings", content=json.dumps(pings))
            latencies.append(time.perf_counter() - started)
            answer.raise_for_status()
            acknowledged += answer.json()["accepted"]
    results.put((acknowledged, late, latencies))


def folded(redis_url: str) -> int:
    client = connect(redis_url)
    try:
        return sum(fence.seq for fence in RedisSink(client, "speed", 1).fences(range(64)) if fence)
    finally:
        client.close()


def measure(data_dir: Path, root: psutil.Process) -> dict[str, Any]:
    info = read_run_info(data_dir)
    assert info is not None
    clients = 2
    results: Any = multiprocessing.Queue()
    before = cpu_by_process(root)
    senders = [multiprocessing.Process(target=send, args=(info.http_url, n, clients, results)) for n in range(clients)]
    started = time.perf_counter()
    for sender in senders:
        sender.start()
    found = [results.get() for _ in senders]
    sent_s = time.perf_counter() - started
    acknowledged = sum(item[0] for item in found)
    while folded(info.redis_url) < acknowledged:
        time.sleep(0.01)  # looking often enough to time it
    folded_s = time.perf_counter() - started
    after = cpu_by_process(root)
    latencies = sorted(value for item in found for value in item[2])
    cpu = {
        f"CPU µs a ping, {name}": (after[name] - before.get(name, 0.0)) / acknowledged * 1e6 for name in sorted(after)
    }
    return {
        "offered, pings/s": float(RATE),
        "acknowledged, pings/s": acknowledged / sent_s,
        "visible in Redis, pings/s": acknowledged / folded_s,
        "behind when the load stopped, s": folded_s - sent_s,
        "largest lateness of the clients, s": max(item[1] for item in found),
        "request p50, ms": latencies[len(latencies) // 2] * 1e3,
        "request p99, ms": latencies[math.ceil(len(latencies) * 0.99) - 1] * 1e3,
        **cpu,
    }


def cpu_by_process(root: psutil.Process) -> dict[str, float]:
    """CPU seconds so far, by what a process is."""
    totals: dict[str, float] = {}
    for process in root.children(recursive=True):
        try:
            line = " ".join(process.cmdline())
            times = process.cpu_times()
        except psutil.Error:
            continue
        name = next((n for n in ("api", "tailer", "projections") if f"process {n}" in line), None)
        name = name or ("postgres" if "postgres" in line else "redis" if "valkey" in line else "kafka")
        totals[name] = totals.get(name, 0.0) + times.user + times.system
    return totals


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        command = [sys.executable, "app.py", "serve", "--data-dir", str(data_dir), "--port", "0"]
        serve = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_ready(data_dir)
            figures = measure(data_dir, psutil.Process(serve.pid))
        finally:
            serve.send_signal(signal.SIGTERM)
            serve.wait(30)
    report("end to end", figures)


def wait_ready(data_dir: Path) -> None:
    for _ in range(300):
        info = read_run_info(data_dir)
        try:
            if info is not None and httpx.get(f"{info.http_url}/health/ready").status_code == 200:
                return
        except httpx.HTTPError:
            pass  # not up yet; asked again below
        time.sleep(0.1)
    raise SystemExit("serve did not become ready")


if __name__ == "__main__":
    main()
