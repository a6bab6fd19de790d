"""Appends ready events in batches of 1,000: our recorder with all indexes, the library's recorder, and raw COPY.

The payload bytes are the same. The library's recorder stores four columns and two indexes per event, ours fifteen
and five; pings have no entry in two further indexes. Raw COPY writes our rows into our table, numbered without a lock,
a check or a head.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

from benchmarks.cpu import here_and_below
from benchmarks.results import at_least, report
from benchmarks.support import postgres, ready_events, server_of
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.event_store.append import COPY_SQL, HEADER, TRAILER, locked_part, pack
from infrastructure.event_store.partitions import ensure_partitions
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import writer_engine
from infrastructure.settings.postgres_url import sqlalchemy_url

BATCH = 1_000
ROUND = 60_000
ROUNDS = 3
OURS, LIBRARY, FUNCTIONS, RAW = "ours", "the library's recorder", "the library's, by its function", "raw COPY"

Append = Callable[[Sequence[LogEvent]], None]
"""Records one batch and returns after its commit."""


@contextmanager
def ours() -> Iterator[Append]:
    with postgres() as url:
        engine = writer_engine(url)
        recorder = EventRecorder(engine)

        def append(batch: Sequence[LogEvent]) -> None:
            recorder.insert_events(batch)

        yield append
        engine.dispose()


@contextmanager
def library(by_function: bool) -> Iterator[Append]:
    """The recorder of the eventsourcing library, with its default configuration.

    ``by_function``: its option to insert by one call of a function in the server. That takes no lock on the table, so
    positions may become visible out of order.
    """
    with postgres() as url:
        at, (host, port) = sqlalchemy_url(url), server_of(url)
        store = PostgresDatastore(
            at.database or "", host, port, at.username or "", at.password or "", enable_db_functions=by_function
        )
        recorder = PostgresApplicationRecorder(store)
        recorder.create_table()

        def append(batch: Sequence[LogEvent]) -> None:
            stored = [StoredEvent(e.originator_id, e.originator_version, e.topic, e.state) for e in batch]
            recorder.insert_events(stored)

        yield append
        store.close()


@contextmanager
def raw_copy() -> Iterator[Append]:
    with postgres() as url:
        engine = writer_engine(url)
        with engine.begin() as connection:
            ensure_partitions(connection, 1, 10_000_000)
        position = 0
        with engine.connect() as connection:

            def append(batch: Sequence[LogEvent]) -> None:
                nonlocal position
                rows = [HEADER]
                for static in pack(batch):
                    position += 1
                    rows += (locked_part(position, position, 0), static)
                rows.append(TRAILER)
                with connection.begin():
                    connection.connection.cursor().copy_expert(COPY_SQL, BytesIO(b"".join(rows)))

            yield append
        engine.dispose()


def measured(append: Append, events: Sequence[LogEvent]) -> tuple[float, float]:
    """Events per second, and CPU microseconds per event of client and server together."""
    started, cpu = time.perf_counter(), here_and_below()
    for first in range(0, len(events), BATCH):
        append(events[first : first + BATCH])
    seconds, cpu = time.perf_counter() - started, here_and_below() - cpu
    return len(events) / seconds, cpu / len(events) * 1e6


def main() -> None:
    events = ready_events(ROUND * ROUNDS)
    found: dict[str, list[tuple[float, float]]] = {OURS: [], LIBRARY: [], FUNCTIONS: [], RAW: []}
    with ExitStack() as stack:
        ways = {
            OURS: stack.enter_context(ours()),
            LIBRARY: stack.enter_context(library(by_function=False)),
            FUNCTIONS: stack.enter_context(library(by_function=True)),
            RAW: stack.enter_context(raw_copy()),
        }
        # In turn, so that other load on the machine affects all of them.
        for first in range(0, len(events), ROUND):
            for name, append in ways.items():
                found[name].append(measured(append, events[first : first + ROUND]))
    rates = {name: statistics.median(rate for rate, _ in rounds) for name, rounds in found.items()}
    cpu = {name: statistics.median(cost for _, cost in rounds) for name, rounds in found.items()}
    figures = {f"{name}, events/s": rate for name, rate in rates.items()}
    figures |= {f"ratio {OURS} / {name}": rates[OURS] / rate for name, rate in rates.items() if name != OURS}
    figures |= {f"{name}, CPU µs an event": cost for name, cost in cpu.items()}
    report("append", figures, {f"{OURS}, events/s": at_least(80_000), f"ratio {OURS} / {LIBRARY}": at_least(5)})


if __name__ == "__main__":
    main()
