"""Appends to one log from several processes at once: what the one lock of the event store lets through.

Each writer is an API process with riders of its own, as a balancer by rider hash gives them; its batches of 1,000 are
ready. Under the lock it reads which aggregates the other writers have changed since its last append.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

from benchmarks.cpu import here_and_below
from benchmarks.results import report
from benchmarks.support import postgres, ready_events
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import writer_engine

WRITERS = (1, 2, 4)
EVENTS = int(os.environ.get("RIDELOG_TEST_EVENTS", "60000"))
"""Of all writers of one run together."""
BATCH = 1_000
RIDERS = 500
GIVE_UP_S = 300.0


def write(url: str, writer: int, count: int, start: Barrier, spent: Queue[tuple[float, float]]) -> None:
    """In a process of its own: append ``count`` events, and report when it was ready and when it had appended them."""
    first = writer * RIDERS
    events = [
        event
        for event in ready_events(count * (writer + 1), first + RIDERS, apart_ms=100)
        if int(event.aggregate_key.rpartition("-")[2]) >= first
    ][:count]
    engine = writer_engine(url)
    recorder = EventRecorder(engine)
    start.wait(GIVE_UP_S)
    began = time.perf_counter()
    for at in range(0, len(events), BATCH):
        recorder.insert_events(events[at : at + BATCH])
    spent.put((began, time.perf_counter()))
    start.wait(GIVE_UP_S)  # the parent reads the CPU of processes that live
    engine.dispose()


def appended(writers: int) -> dict[str, float]:
    """Events per second of all writers, and CPU of writers and server."""
    processes = multiprocessing.get_context("spawn")
    with postgres() as url:
        start, spent = processes.Barrier(writers + 1), processes.Queue()
        count = EVENTS // writers
        children = [
            processes.Process(target=write, args=(url, writer, count, start, spent)) for writer in range(writers)
        ]
        for child in children:
            child.start()
        start.wait(GIVE_UP_S)
        before = here_and_below()
        times = [spent.get(timeout=GIVE_UP_S) for _ in children]
        cpu = here_and_below() - before
        start.wait(GIVE_UP_S)
        for child in children:
            child.join(GIVE_UP_S)
    seconds = max(end for _, end in times) - min(began for began, _ in times)
    name = f"{writers} writers"
    return {f"{name}: events/s": count * writers / seconds, f"{name}: CPU µs an event": cpu / (count * writers) * 1e6}


def main() -> None:
    figures: dict[str, float] = {}
    for writers in WRITERS:
        figures |= appended(writers)
    for writers in WRITERS[1:]:
        ratio = figures[f"{writers} writers: events/s"] / figures[f"{WRITERS[0]} writers: events/s"]
        figures[f"{writers} writers: ratio to one"] = ratio
    report("append_writers", figures)


if __name__ == "__main__":
    main()
