"""What the benchmark of the page asks the browser: times, frames, memory, and an instant from handle to screen."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page

from benchmarks.cpu import seconds_of
from infrastructure.http.web_page import web_files
from tests.support.web.browser import until

VIEWPORT: Final = {"width": 1280, "height": 800}

WATCH_START: Final = """
window.started = {};
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) (window.started.long ??= []).push([entry.startTime, entry.duration]);
}).observe({ type: "longtask", buffered: true });
const watch = () => {
  const map = window.ridelogMap;
  if (document.querySelector(".finder input")) window.started.layout ??= performance.now();
  if (map && map.riders.size >= WANTED && map.frames > 0) {
    window.started.frames ??= map.frames;
    if (map.frames > window.started.frames) { window.started.drawn = performance.now(); return; }
  }
  requestAnimationFrame(watch);
};
requestAnimationFrame(watch);
"""
"""Notes when the page has its fields, and when the map has painted the riders after they were known."""

FRAMES: Final = """(ms) => new Promise((done) => {
  const deltas = [], began = performance.now(), painted = window.ridelogMap.frames;
  let before = 0;
  const turn = (now) => {
    if (before) deltas.push(now - before);
    before = now;
    if (performance.now() - began < ms) requestAnimationFrame(turn);
    else done({ deltas, painted: window.ridelogMap.frames - painted });
  };
  requestAnimationFrame(turn);
})"""

INSTANT: Final = """([at, expected, rider]) => new Promise((done, fail) => {
  const slider = document.querySelector(".slider input");
  const began = performance.now();
  const part = "2-digit", options = { hour: part, minute: part, second: part, hour12: false };
  const clock = new Intl.DateTimeFormat("en-GB", options);
  const textOf = (query) => document.querySelector(query)?.textContent;
  let map = null, panel = null;
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(slider, String(at));
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  const turn = () => {
    const now = performance.now() - began;
    if (now > 20000) return fail(new Error(`the instant ${at} is not drawn`));
    const mark = window.ridelogMap.riders.get(rider);
    if (map === null && mark && mark.ms === expected) map = now;
    const wanted = clock.format(expected);
    if (map !== null && panel === null && textOf(".pings.window tbody tr:first-child td:first-child") === wanted) {
      panel = performance.now() - began;
    }
    // A task after this frame: its canvases are painted by then.
    if (panel !== null && textOf(".came tbody tr:first-child td:first-child") === wanted) {
      return setTimeout(() => done([map, panel, performance.now() - began]), 0);
    }
    requestAnimationFrame(turn);
  };
  requestAnimationFrame(turn);
})"""
"""Moves the handle as a person does; milliseconds until the map, until the window of the rider too, and until its track
and chart too are of then: the whole instant."""


class Started(NamedTuple):
    """Milliseconds from the navigation, of one load of the page."""

    fields_ms: float
    riders_ms: float
    long_tasks_ms: float


class Cost(NamedTuple):
    """CPU seconds: of all processes of the browser, and of the page's thread by the browser's own count."""

    browser_s: float
    task_s: float
    script_s: float


def load(one: Browser, url: str, riders: int) -> tuple[Started, Started]:
    """Open the page twice in a context of its own, until it shows the riders: without and with its files."""
    with one.new_context(viewport=VIEWPORT) as held:  # type: ignore[arg-type]
        return _load(held, url, riders), _load(held, url, riders)


def _load(held: BrowserContext, url: str, riders: int) -> Started:
    page = held.new_page()
    page.add_init_script(WATCH_START.replace("WANTED", str(riders * 9 // 10)))
    page.goto(url)
    until(page, "() => window.started.drawn > 0")
    found = page.evaluate("window.started")
    page.close()
    return Started(found["layout"], found["drawn"], sum(took for _, took in found.get("long", [])))


def devtools(page: Page) -> CDPSession:
    """A session of the DevTools protocol with its counters on."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    return session


def cost(session: CDPSession, browser_pids: Sequence[int]) -> Cost:
    """What was spent so far."""
    found = _counters(session)
    spent = seconds_of([psutil.Process(pid) for pid in browser_pids if psutil.pid_exists(pid)])
    return Cost(spent, found["TaskDuration"], found["ScriptDuration"])


def memory(session: CDPSession) -> dict[str, float]:
    """Bytes of the JavaScript heap after a collection, and the number of nodes and listeners."""
    session.send("HeapProfiler.collectGarbage")
    found = _counters(session)
    return {"heap": found["JSHeapUsedSize"], "nodes": found["Nodes"], "listeners": found["JSEventListeners"]}


def _counters(session: CDPSession) -> dict[str, float]:
    metrics: list[dict[str, Any]] = session.send("Performance.getMetrics")["metrics"]
    return {one["name"]: one["value"] for one in metrics}


def browser_pids() -> list[int]:
    """The processes of the browsers that this process has started."""
    return [one.pid for one in psutil.Process().children(recursive=True) if "chrom" in one.name()]


def percentile(values: Sequence[float], percent: int) -> float:
    """By nearest rank, rounded up. Raises IndexError for none."""
    ordered = sorted(values)
    return ordered[-(-len(ordered) * percent // 100) - 1]


def slope(values: Sequence[float]) -> float:
    """How much the values grow from one to the next, by least squares; 0 for fewer than two."""
    if len(values) < 2:
        return 0.0
    return statistics.linear_regression(range(len(values)), values).slope


def profiled(page: Page, file: Path, seconds: float) -> None:
    """Write a CPU profile of the page's thread, which DevTools opens."""
    session = page.context.new_cdp_session(page)
    session.send("Profiler.enable")
    session.send("Profiler.start")
    page.wait_for_timeout(seconds * 1000)
    file.write_text(json.dumps(session.send("Profiler.stop")["profile"]))
    session.detach()


def started(loads: Sequence[tuple[Started, Started]]) -> dict[str, float]:
    """Figures of the first starts, which the browser had no file for, and of the second ones."""
    figures = {}
    for name, ones in (("start", [first for first, _ in loads]), ("second start", [again for _, again in loads])):
        figures[f"{name}: fields p50, ms"] = statistics.median(one.fields_ms for one in ones)
        figures[f"{name}: riders drawn p50, ms"] = statistics.median(one.riders_ms for one in ones)
        figures[f"{name}: riders drawn, longest, ms"] = max(one.riders_ms for one in ones)
        figures[f"{name}: long tasks p50, ms"] = statistics.median(one.long_tasks_ms for one in ones)
    return figures


def zipped() -> dict[str, int]:
    """Bytes of the page's files as they are sent, by their kind."""
    found = {"scripts": 0, "libraries": 0, "styles and page": 0}
    for name, file in web_files().items():
        kind = "libraries" if name.startswith("vendor/") else "scripts" if name.endswith(".js") else "styles and page"
        found[kind] += len(file.zipped)
    return {f"size (gzip): {kind}, bytes": size for kind, size in found.items()}
