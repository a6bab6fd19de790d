"""The tailer on a backlog: WAL to an acknowledging broker, beside reading the same WAL and doing nothing."""

from __future__ import annotations

import resource
import time

from benchmarks.support import kafka, postgres, ready_events, report
from infrastructure.cdc.events_table import EventsTable
from infrastructure.cdc.keeper import MarkKeeper
from infrastructure.cdc.outflow import Outflow
from infrastructure.cdc.slot import ensure_publication, make_slot
from infrastructure.cdc.stream import ReplicationStream
from infrastructure.cdc.tailer import Tailer
from infrastructure.event_store.engine import reader_engine, writer_engine
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.kafka.admin import ensure_topics
from infrastructure.kafka.confluent_publisher import ConfluentPublisher

EVENTS = 200_000
SLOTS = ("bench_tailer", "bench_raw")


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def tail(url: str, bootstrap: str) -> tuple[float, float]:
    """Events per second, and CPU microseconds of this process an event."""
    ensure_topics(bootstrap, ["gps-pings"], 8)
    stream = ReplicationStream(url, SLOTS[0], "bench")
    publisher = ConfluentPublisher(bootstrap)
    topics = {"Rider": "gps-pings"}
    events = EventsTable(reader_engine(url), topics, 8)
    tailer = Tailer(stream, Outflow(publisher, 0), events, MarkKeeper(lambda position, lsn: None), topics, 8)
    started, cpu = time.perf_counter(), cpu_s()
    while tailer.out.progress.acknowledged < EVENTS:
        tailer.step(0.1)
    seconds, cpu = time.perf_counter() - started, cpu_s() - cpu
    publisher.close()
    stream.close()
    return EVENTS / seconds, cpu / EVENTS * 1e6


def read_only(url: str) -> float:
    """Messages read from the WAL per second, nothing done with them."""
    stream = ReplicationStream(url, SLOTS[1], "bench")
    started, rows = time.perf_counter(), 0
    while rows < EVENTS:
        batch = stream.read(2_000)
        rows += sum(message[0] == 0x49 for message in batch.messages)
        if batch.drained:
            stream.wait(0.1)
    seconds = time.perf_counter() - started
    stream.close()
    return EVENTS / seconds


def main() -> None:
    with postgres() as url, kafka() as bootstrap:
        engine = reader_engine(url)
        ensure_publication(engine, "bench")
        for slot in SLOTS:
            make_slot(engine, slot, instead=False)
        engine.dispose()
        writer = writer_engine(url)
        recorder, events = EventRecorder(writer), ready_events(EVENTS)
        for first in range(0, EVENTS, 1_000):
            recorder.insert_events(events[first : first + 1_000])
        writer.dispose()
        rate, cpu = tail(url, bootstrap)
        raw = read_only(url)
    report(
        "tailer",
        {
            "ours, events/s to acknowledged": rate,
            "ours, CPU µs an event": cpu,
            "reading pgoutput only, rows/s": raw,
            "ratio ours / reading only": rate / raw,
        },
    )


if __name__ == "__main__":
    main()
