"""What each part of an open page costs the API process: its stream, and each of its requests, beside a load.

python -m benchmarks.page_parts [--riders N] [--rate PINGS/S] [--seconds S]

No browser runs: a process reads the stream as a page does, and each request is made again and again, one after the
other. What the API spends beside the load alone is measured before and after, and subtracted. The CPU time of a call
times the calls that a page makes in a second is what that part costs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import psutil

from benchmarks.cpu import by_program
from benchmarks.live_feed import beside, follow
from benchmarks.page import RATE, RIDERS, behind, loaded
from benchmarks.page_load import rider_id
from benchmarks.results import report
from tests.support.worlds.ridelog import Ridelog, ridelog

SETTLE_S: Final = 2.0


class PagePart(NamedTuple):
    """A request of the page. ``a_second``: how often it is made; ``follows``: while a rider is followed alone."""

    name: str
    path: str
    a_second: float
    follows: bool


def parts(rider: str) -> list[PagePart]:
    """The requests of a page that shows now."""
    return [
        PagePart("pipeline", "/pipeline", 1 / 2, False),
        PagePart("traffic", "/traffic?outlines=true", 1 / 10, False),
        PagePart("window", f"/riders/{rider}/window", 1 / 2, True),
        PagePart("track", f"/riders/{rider}/track?events=300", 1 / 2, True),
    ]


class Meter:
    """Reads the CPU time of the API process."""

    def __init__(self, city: Ridelog) -> None:
        self._root = psutil.Process(city.process.pid)
        self.idle = 0.0
        """Seconds of CPU a second beside the load alone."""

    def _spent_s(self) -> float:
        return by_program(self._root, {})["api"]

    def rate(self, seconds: float) -> float:
        """Seconds of CPU a second, while this process only waits."""
        time.sleep(SETTLE_S)
        began, before = time.monotonic(), self._spent_s()
        time.sleep(seconds)
        return (self._spent_s() - before) / (time.monotonic() - began)

    def of_calls(self, http: httpx.Client, path: str, seconds: float) -> tuple[float, int]:
        """CPU seconds of a call of ``path``, and the bytes of its answer, called for ``seconds``."""
        assert http.get(path).status_code == 200
        began, before, calls, size = time.monotonic(), self._spent_s(), 0, 0
        while time.monotonic() - began < seconds:
            size = len(http.get(path).content)
            calls += 1
        passed = time.monotonic() - began
        return (self._spent_s() - before - self.idle * passed) / calls, size


def measured(city: Ridelog, options: argparse.Namespace) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    messages, sent = context.Value("q", 0), context.Value("q", 0)
    meter = Meter(city)
    before = meter.rate(options.seconds)
    with beside(follow, f"{city.info.http_url.rstrip('/')}/live", messages, sent):
        time.sleep(SETTLE_S)
        began = time.monotonic(), messages.value, sent.value
        stream = meter.rate(options.seconds)
        passed = time.monotonic() - began[0]
        rates = (messages.value - began[1]) / passed, (sent.value - began[2]) / passed / 1e3
    meter.idle = (before + meter.rate(options.seconds)) / 2
    figures = {
        "API without a page, % of a core": 100 * meter.idle,
        "stream: messages a second": rates[0],
        "stream: kB a second": rates[1],
        "stream: CPU µs a ping": (stream - meter.idle) / options.rate * 1e6,
        "stream: % of the API": 100 * (stream / meter.idle - 1),
    }
    # A rider of the middle: the first ones begin earlier.
    for part in parts(rider_id(options.riders // 2)):
        call_s, size = meter.of_calls(city.http, part.path, options.seconds / 2)
        figures |= {
            f"{part.name}: kB an answer": size / 1e3,
            f"{part.name}: CPU ms a call": 1e3 * call_s,
            f"{part.name}: % of the API": 100 * call_s * part.a_second / meter.idle,
        }
    return figures | sums(figures, rider_id(options.riders // 2)) | {"events behind at the end": behind(city)}


def sums(figures: Mapping[str, float], rider: str) -> dict[str, float]:
    """What the parts of a page are together, without and with a rider that is followed."""
    shares = {part: figures[f"{part.name}: % of the API"] for part in parts(rider)}
    on_map = figures["stream: % of the API"] + sum(share for part, share in shares.items() if not part.follows)
    return {
        "a page with the map, sum of its parts, % of the API": on_map,
        "a page that follows a rider, sum of its parts, % of the API": on_map
        + sum(share for part, share in shares.items() if part.follows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page_parts")
    parser.add_argument("--riders", type=int, default=RIDERS)
    parser.add_argument("--rate", type=int, default=RATE, help="pings a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement; half of it for a request")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ridelog(Path(name) / "data") as city, loaded(city, options):
        figures = measured(city, options)
    report("page_parts", figures | {"load": os.getloadavg()[0]})


if __name__ == "__main__":
    main()
