"""The page in a driven Chromium beside a load: start, frames, its cost to the API, memory, and an instant of a day.

python -m benchmarks.page [--riders N] [--rate PINGS/S] [--minutes M] [--profile FILE] [--only instant,start,…]

Chromium draws in software here, and shares the machine with the servers and the clients: each figure that time decides
has a CPU time beside it. Nothing is decided by a run; the figures are printed.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
from playwright.sync_api import Browser, Page, expect

from benchmarks import page_browser as asked
from benchmarks.cpu import by_program
from benchmarks.page_load import DAY_INTERVAL_MS, DAY_PINGS, DAY_RIDER, HOUR_MS, day_pings, drag, jumps, ride, rider_id
from benchmarks.results import at_least, at_most, report
from tests.support.waiting import eventually
from tests.support.web.browser import browser, until
from tests.support.web.page import find
from tests.support.worlds.ridelog import Ridelog, ridelog

RIDERS: Final = 1_000
RATE: Final = 2_000
LOADS: Final = 5
INSTANTS: Final = 120
FOLLOW_S: Final = 30
BLOCK_S: Final = 20.0
BLOCKS: Final = 2
SETTLE_S: Final = 3.0
MAX_LOAD_S: Final = 4 * 3_600
"""Longer than a run: the load is ended with it."""
PARTS: Final = "instant,start,frames,api,memory"


def record_day(city: Ridelog) -> int:
    """Backfill the day of one rider, which ended an hour ago. Returns the time of its last ping.

    Each ping is received when it was sent, as on a live day. Sent now, they would all be of a time before the rider was
    registered, and state snapshots with that event are of no use for an instant before it.
    """
    end_ms = (int(time.time() * 1000) - HOUR_MS) // 1000 * 1000
    pings = day_pings(end_ms)
    with tempfile.NamedTemporaryFile("w", suffix=".csv", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, [*pings[0], "received"])
        rows.writeheader()
        rows.writerows({**ping, "received": ping["event_timestamp_ms"]} for ping in pings)
        file.flush()
        done = city.cli("import-pings", file.name, "--recorded-at", "received", timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    position = head(city)

    def is_folded() -> bool:
        window = city.http.get(f"/riders/{DAY_RIDER}/window").json()
        # The map of an instant is of what analytics has folded.
        items = city.http.get("/riders", params={"at": end_ms + 1, "axis": "event"}).json()["items"]
        return window.get("position", 0) >= position and [one["event_timestamp_ms"] for one in items] == [end_ms]

    eventually(is_folded, within_s=300, every_s=1.0, what="the day is folded")
    return end_ms


def head(city: Ridelog) -> int:
    return int(city.http.get("/pipeline").json()["head"])


def behind(city: Ridelog) -> int:
    """By how many events the farthest stage is behind."""
    found = city.http.get("/pipeline").json()
    # The position of a projection of deliveries is that of the last delivery: without one it stays 0.
    return int(max(one["lag_events"] or 0 for one in found["stages"]))


def scrub(page: Page, city: Ridelog, end_ms: int, instants: Sequence[int], name: str) -> dict[str, float]:
    """Move the handle to each of the instants, one after the other is drawn. ``name`` begins the labels."""
    root = psutil.Process(city.process.pid)
    page.get_by_role("combobox", name="Length of the slider").select_option("1440")
    first_ms = end_ms - (DAY_PINGS - 1) * DAY_INTERVAL_MS
    session, pids = asked.devtools(page), asked.browser_pids()
    found: list[list[float]] = []
    before, api_s = asked.cost(session, pids), by_program(root, {})["api"]
    for wanted_ms in instants:
        at_ms = page.evaluate(
            "at => { const s = document.querySelector('.slider input'); const low = Number(s.min);"
            " return low + Math.round((at - low) / 1000) * 1000 }",
            wanted_ms,
        )
        expected = first_ms + (at_ms - first_ms) // DAY_INTERVAL_MS * DAY_INTERVAL_MS
        found.append(page.evaluate(asked.INSTANT, [at_ms, expected, DAY_RIDER]))
    after, api_s = asked.cost(session, pids), by_program(root, {})["api"] - api_s
    session.detach()
    figures: dict[str, float] = {}
    for part, times in zip(("map drawn", "window too", "track and chart too"), zip(*found, strict=True), strict=True):
        figures[f"{name}: {part} p50, ms"] = statistics.median(times)
        figures[f"{name}: {part} p95, ms"] = asked.percentile(times, 95)
    return figures | {
        f"{name}: CPU of the page's thread, ms": (after.task_s - before.task_s) * 1e3 / len(instants),
        f"{name}: CPU of the browser, ms": (after.browser_s - before.browser_s) * 1e3 / len(instants),
        f"{name}: CPU of the API, ms": api_s * 1e3 / len(instants),
    }


def server_times(city: Ridelog, end_ms: int) -> dict[str, float]:
    """What the reads of one instant take without a browser, one after the other."""
    chance = random.Random(8)
    found: dict[str, list[float]] = {}
    for _ in range(60):
        at = f"at={chance.randrange(end_ms - 80_000_000, end_ms)}&axis=event"
        paths = {
            "window": f"/riders/{DAY_RIDER}/window?{at}",
            "track": f"/riders/{DAY_RIDER}/track?events=300&{at}",
            "riders": f"/riders?{at}",
        }
        for name, path in paths.items():
            began = time.perf_counter()
            assert city.http.get(path).status_code == 200
            found.setdefault(name, []).append((time.perf_counter() - began) * 1e3)
    return {f"GET {name} of an instant p50, ms": statistics.median(times) for name, times in found.items()} | {
        f"GET {name} of an instant p95, ms": asked.percentile(times, 95) for name, times in found.items()
    }


@contextmanager
def opened(one: Browser, url: str) -> Iterator[Page]:
    with one.new_context(viewport=asked.VIEWPORT) as held:  # type: ignore[arg-type]
        page = held.new_page()
        page.set_default_timeout(60_000)
        page.goto(url)
        yield page


def following(page: Page, riders: int) -> None:
    """Select a rider that moves, and follow it."""
    until(page, "count => window.ridelogMap.riders.size >= count", riders * 9 // 10)
    find(page, rider_id(riders // 2))
    expect(page.locator(".pings.window tbody tr").first).to_be_visible()
    page.get_by_role("button", name="Follow").click()


def frames(page: Page, seconds: float) -> dict[str, float]:
    """Frames while following, from the browser's own animation frames."""
    session, pids = asked.devtools(page), asked.browser_pids()
    before = asked.cost(session, pids)
    found = page.evaluate(asked.FRAMES, seconds * 1000)
    after = asked.cost(session, pids)
    session.detach()
    deltas = found["deltas"]
    return {
        "following: frames/s": len(deltas) / (sum(deltas) / 1e3),
        "following: frames painted by the map, a second": found["painted"] / (sum(deltas) / 1e3),
        "following: between two frames p95, ms": asked.percentile(deltas, 95),
        "following: CPU of the page's thread a frame, ms": (after.task_s - before.task_s) * 1e3 / found["painted"],
        "following: script of it, ms": (after.script_s - before.script_s) * 1e3 / found["painted"],
        "following: CPU of the browser a frame, ms": (after.browser_s - before.browser_s) * 1e3 / found["painted"],
    }


def api_cost(one: Browser, city: Ridelog, url: str, riders: int) -> dict[str, float]:
    """CPU of the API with no page and with one, in turns under the same load."""
    root = psutil.Process(city.process.pid)
    spent: dict[str, list[float]] = {"none": [], "map": [], "followed rider": []}

    def block(name: str) -> None:
        time.sleep(SETTLE_S)
        began, before = time.monotonic(), by_program(root, {})["api"]
        time.sleep(BLOCK_S)
        spent[name].append((by_program(root, {})["api"] - before) / (time.monotonic() - began))

    for _ in range(BLOCKS):
        block("none")
        with opened(one, url) as page:
            until(page, "count => window.ridelogMap.riders.size >= count", riders * 9 // 10)
            block("map")
            following(page, riders)
            block("followed rider")
    means = {name: statistics.fmean(values) for name, values in spent.items()}
    return {
        "API without a page, % of a core": 100 * means["none"],
        "a page with the map costs the API, % of that": 100 * (means["map"] / means["none"] - 1),
        "a page that follows a rider costs the API, % of that": 100 * (means["followed rider"] / means["none"] - 1),
    }


def memory(page: Page, minutes: float) -> dict[str, Any]:
    """The heap and the nodes after a collection, each half minute, while a rider is followed."""
    session = asked.devtools(page)
    found = [asked.memory(session)]
    ends = time.monotonic() + minutes * 60
    while time.monotonic() < ends:
        page.wait_for_timeout(30_000)
        found.append(asked.memory(session))
        print("memory", round(found[-1]["heap"] / 1e6, 2), found[-1]["nodes"], found[-1]["listeners"], flush=True)
    session.detach()
    # The map keeps 6,000 ways: the first minutes fill that, so growth is judged by the second half.
    half = found[len(found) // 2 :]
    return {
        "memory: minutes": minutes,
        "memory: heap at the start, MB": found[0]["heap"] / 1e6,
        "memory: heap at half time, MB": half[0]["heap"] / 1e6,
        "memory: heap at the end, MB": found[-1]["heap"] / 1e6,
        "memory: growth in the second half, kB a minute": asked.slope([one["heap"] for one in half]) * 2 / 1e3,
        "memory: nodes at half time": half[0]["nodes"],
        "memory: nodes at the end": found[-1]["nodes"],
        "memory: listeners at half time": half[0]["listeners"],
        "memory: listeners at the end": found[-1]["listeners"],
    }


@contextmanager
def loaded(city: Ridelog, options: argparse.Namespace) -> Iterator[None]:
    """While inside, riders send pings. Raises SystemExit if the load ended before."""
    before = head(city)
    load = multiprocessing.get_context("fork").Process(
        target=ride, args=(city.info.http_url, options.riders, options.rate, MAX_LOAD_S)
    )
    load.start()
    try:
        eventually(lambda: head(city) > before + 5 * options.rate, within_s=300, what="the load runs")
        yield
        if not load.is_alive():
            raise SystemExit("the load ended before the measurement: its figures are of no load")
    finally:
        load.kill()
        load.join()


def measure(city: Ridelog, options: argparse.Namespace) -> dict[str, Any]:
    url = city.info.http_url.rstrip("/") + "/"
    figures: dict[str, Any] = {**asked.zipped()}

    def add(found: dict[str, Any]) -> None:
        figures.update({"load while measured": os.getloadavg()[0]} | found)
        print({name: round(value, 2) for name, value in found.items()}, os.getloadavg(), flush=True)

    parts = options.only.split(",")
    with browser() as one:
        if "instant" in parts:
            end_ms = record_day(city)
            add(server_times(city, end_ms))
            with opened(one, f"{url}?at={end_ms - HOUR_MS}&rider={DAY_RIDER}") as page:
                expect(page.locator(".pings.window tbody tr").first).to_be_visible()
                add(scrub(page, city, end_ms, jumps(end_ms, INSTANTS), "an instant of a day"))
                add(scrub(page, city, end_ms, drag(end_ms, INSTANTS), "a step of a drag over it"))
        if parts == ["instant"]:
            return figures
        with loaded(city, options):
            if "start" in parts:
                add(asked.started([asked.load(one, url, options.riders) for _ in range(LOADS)]))
            if "frames" in parts:
                with opened(one, url) as page:
                    following(page, options.riders)
                    page.wait_for_timeout(SETTLE_S * 1000)
                    add(frames(page, FOLLOW_S))
                    if options.profile:
                        asked.profiled(page, options.profile, 10.0)
            if "api" in parts:
                add(api_cost(one, city, url, options.riders))
            if "memory" in parts:
                with opened(one, url) as page:
                    following(page, options.riders)
                    add(memory(page, options.minutes))
            figures["events behind at the end"] = behind(city)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--riders", type=int, default=RIDERS)
    parser.add_argument("--rate", type=int, default=RATE, help="pings a second")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the measurement of memory")
    parser.add_argument("--profile", type=Path, help="write a CPU profile of the page while it follows")
    parser.add_argument("--only", default=PARTS, help=f"parts to measure, of {PARTS}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ridelog(Path(name) / "data") as city:
        figures = measure(city, options)
    targets = {
        "start: riders drawn p50, ms": at_most(1_000),
        "following: frames/s": at_least(30),
        "a page that follows a rider costs the API, % of that": at_most(10),
        "an instant of a day: window too p95, ms": at_most(50),
        "an instant of a day: track and chart too p95, ms": at_most(50),
        "a step of a drag over it: track and chart too p95, ms": at_most(50),
    }
    report("page", figures, {label: target for label, target in targets.items() if label in figures})


if __name__ == "__main__":
    main()
