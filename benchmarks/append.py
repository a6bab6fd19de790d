"""Appending ready events in batches of 1,000, all indexes on: ours, beside COPY of the same rows without our rules."""

from __future__ import annotations

import time
from io import BytesIO

from benchmarks.support import postgres, ready_events, report
from infrastructure.event_store.append import pack
from infrastructure.event_store.copy_rows import COPY_SQL, HEADER, TRAILER, locked_part
from infrastructure.event_store.engine import writer_engine
from infrastructure.event_store.partitions import ensure_partitions
from infrastructure.event_store.recorder import EventRecorder

BATCH = 1_000
EVENTS = 200_000


def ours(url: str) -> float:
    """Events per second through ``insert_events``."""
    engine = writer_engine(url)
    recorder = EventRecorder(engine)
    events = ready_events(EVENTS)
    started = time.perf_counter()
    for first in range(0, EVENTS, BATCH):
        recorder.insert_events(events[first : first + BATCH])
    seconds = time.perf_counter() - started
    engine.dispose()
    return EVENTS / seconds


def raw_copy(url: str) -> float:
    """Rows per second of COPY into the same table, numbered without a lock, a check or a head."""
    engine = writer_engine(url)
    with engine.begin() as connection:
        ensure_partitions(connection, 1, 10_000_000)
    packed = pack(ready_events(EVENTS))
    seqs = [0] * 64
    started = time.perf_counter()
    with engine.connect() as connection:
        for first in range(0, EVENTS, BATCH):
            rows = [HEADER]
            for number, static in enumerate(packed[first : first + BATCH], start=first + 1_000_000):
                seqs[number % 64] += 1
                rows += (locked_part(number, number, 0), static)
            rows.append(TRAILER)
            with connection.begin():
                connection.connection.cursor().copy_expert(COPY_SQL, BytesIO(b"".join(rows)))
    seconds = time.perf_counter() - started
    engine.dispose()
    return EVENTS / seconds


def main() -> None:
    with postgres() as url:
        mine = ours(url)
    with postgres() as url:
        raw = raw_copy(url)
    report("append", {"ours, events/s": mine, "raw COPY, rows/s": raw, "ratio ours / raw": mine / raw})


if __name__ == "__main__":
    main()
