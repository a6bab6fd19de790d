"""Compares our HTTP server with others: the same application and the same requests, in one run.

First the requests of ``tests/support/http/wire_cases.py``. Then 300 silent connections, a header of 69 MB and 1,100
open connections, each while another client sends requests. Then POST /pings with 200 pings and GET of a speed, in a
closed loop over 32 connections, the servers in turn. The peers are installed from PyPI into an environment created for
this run. With ``--peers PYTHON`` those of that interpreter are used; a peer that is not installed is named and skipped.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import uvloop

from benchmarks.cpu import seconds_of
from benchmarks.http_conduct import get_during_large_header, still_open, wrong
from benchmarks.open_loop import Pool, clients, spread
from benchmarks.results import at_most, report
from infrastructure.embedded.server import free_port
from tests.support.http.wire_cases import CASES, JSON
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent
OURS = "ours"
PEERS = ("uvicorn", "uvicorn-zttp", "uvicorn-h11", "granian", "granian-embedded", "hypercorn")
PACKAGES = ("granian", "hypercorn", "zttp")
BATCH = 200
CONNECTIONS = 32
SILENT = 300
SOCKETS = 1_100
GIVE_UP_S = 60.0


def environment(folder: Path) -> str:
    """The interpreter of a new environment with the peers and, by a path file, all packages of this environment."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    found = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    (Path(found.stdout.strip()) / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    if subprocess.run(install, check=False).returncode:
        print(f"{', '.join(PACKAGES)} could not be installed")
    return str(python)


@contextmanager
def serving(python: str, name: str) -> Iterator[tuple[str, psutil.Process] | None]:
    """URL and process of one server; None if it does not start, for example because it is not installed."""
    port = free_port()
    command = [python, "-m", "benchmarks.http_server_child", name, str(port)]
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)

    def started() -> bool:
        if child.poll() is not None:
            return True
        try:
            return closing(socket.create_connection(("127.0.0.1", port), 1)) is not None
        except OSError:
            return False

    try:
        eventually(started, within_s=GIVE_UP_S, what=f"{name} serves")
        yield None if child.poll() is not None else (f"http://127.0.0.1:{port}", psutil.Process(child.pid))
    finally:
        child.terminate()
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


async def closed_loop(url: str, request: bytes, seconds: float) -> tuple[int, list[float], float]:
    """CONNECTIONS clients that send the next request as soon as they have an answer.

    Returns the number of requests, their durations and the total duration, in seconds.
    """
    pool = Pool(url, CONNECTIONS)
    await pool.open()
    took: list[float] = []
    began = time.perf_counter()
    ended = asyncio.Event()
    running = CONNECTIONS

    def ask() -> None:
        sent = time.perf_counter()

        def answered(_body: bytes) -> None:
            nonlocal running
            now = time.perf_counter()
            took.append(now - sent)
            if now - began < seconds:
                asyncio.get_running_loop().call_soon(ask)
            else:
                running -= 1
                if not running:
                    ended.set()

        pool.request(request, answered)

    for _ in range(CONNECTIONS):
        ask()
    while not ended.is_set():
        pool.check()
        await asyncio.sleep(0.05)
    pool.close()
    return len(took), took, time.perf_counter() - began


def run_closed_loop(url: str, request: bytes, seconds: float) -> tuple[int, list[float], float]:
    return uvloop.run(closed_loop(url, request, seconds))


def requests(url: str) -> dict[str, bytes]:
    host = b"Host: " + url.partition("//")[2].encode() + b"\r\n"
    now = time.time_ns() // 1_000_000
    pings: list[dict[str, Any]] = [
        {
            "rider_id": f"rider-{n}",
            "latitude": 52.5,
            "longitude": 13.4 + n / 1e5,
            "event_timestamp_ms": now,
            "accuracy_meters": 5,
        }
        for n in range(BATCH)
    ]
    body = msgspec.json.encode(pings)
    post = b"POST /pings HTTP/1.1\r\n" + host + JSON + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return {"POST of 200 pings": post, "GET of a speed": b"GET /riders/a/speed HTTP/1.1\r\n" + host + b"\r\n"}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", help="an interpreter that has the peers; without it an environment is created")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", nargs="*", help="names of servers")
    parser.add_argument("--skip-cases", action="store_true")
    options = parser.parse_args(arguments)
    figures: dict[str, float] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        python = options.peers or environment(folder)
        servers: dict[str, tuple[str, psutil.Process]] = {}
        for name in options.only or (OURS, *PEERS):
            found = stack.enter_context(serving(python, name))
            if found is None:
                print(f"{name} is not installed, or does not start: skipped")
            else:
                servers[name] = found
        if not options.skip_cases:
            for name, (url, _) in servers.items():
                bad = wrong(url)
                figures[f"{name}: of {len(CASES)} requests answered wrongly"] = len(bad)
                for case, deviation in bad.items():
                    print(f"  {name}: {case}: {deviation}")
                figures[f"{name}: slowest GET beside a header of 69 MB, ms"] = get_during_large_header(url)
            for name, (url, _) in servers.items():
                left, slowest = still_open(url, SILENT, 35.0)
                figures[f"{name}: of {SILENT} silent connections open after 35 s"] = left
                _, slowest = still_open(url, SOCKETS, 0.0)
                figures[f"{name}: slowest GET beside {SOCKETS:,} connections, ms"] = slowest
        rates: dict[tuple[str, str], list[float]] = {}
        took: dict[tuple[str, str], list[float]] = {}
        spent: dict[tuple[str, str], list[float]] = {}
        with clients(1) as run:
            for _ in range(options.rounds):
                for name, (url, process) in servers.items():
                    for what, request in requests(url).items():
                        group = [process, *process.children(recursive=True)]
                        before = seconds_of(group)
                        count, each, seconds = run.submit(run_closed_loop, url, request, options.seconds).result(
                            GIVE_UP_S
                        )
                        rates.setdefault((what, name), []).append(count / seconds)
                        took.setdefault((what, name), []).extend(each)
                        spent.setdefault((what, name), []).append((seconds_of(group) - before) / count * 1e6)
        for (what, name), found_rates in rates.items():
            figures[f"{what}, {name}: requests/s"] = statistics.median(found_rates)
            figures[f"{what}, {name}: least and most"] = f"{min(found_rates):,.0f}–{max(found_rates):,.0f}"  # type: ignore[assignment]
            figures[f"{what}, {name}: p99, ms"] = spread(took[what, name]).p99
            figures[f"{what}, {name}: CPU µs a request"] = statistics.median(spent[what, name])
        for (what, name), theirs in rates.items():
            if name != OURS and (what, OURS) in rates:
                ratio = statistics.median(rates[what, OURS]) / statistics.median(theirs)
                figures[f"{what}: ours / {name}, requests/s"] = ratio
                ratio = statistics.median(spent[what, OURS]) / statistics.median(spent[what, name])
                figures[f"{what}: ours / {name}, CPU"] = ratio
    targets = {label: at_most(1.05) for label in figures if label.endswith("ours / uvicorn, CPU")}
    report("http_servers", figures, targets)


if __name__ == "__main__":
    main()
