"""Compares appending with and without another open transaction: python -m benchmarks.open_transaction.

Two servers take the same appends in turn. On one of them a REPEATABLE READ transaction is open from before the first
append until after the last one, like that of a pg_dump or an analyst. Its cost shows at the end, when no dead row
version of all the appends could be removed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from sqlalchemy import text

from benchmarks.results import at_least, report
from benchmarks.support import postgres, ready_events
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.event_store.log_head import read_head
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine, writer_engine

COMMITS = 100_000
ROUNDS = 100
READS = 200


class Appending:
    """One server: its recorder and the durations of its rounds."""

    def __init__(self, url: str) -> None:
        self._engine = writer_engine(url)
        self._recorder = EventRecorder(self._engine)
        self.append_ms: list[float] = []

    def run(self, appends: Sequence[Sequence[LogEvent]]) -> None:
        """Run one round; each of ``appends`` is a transaction."""
        began = time.perf_counter()
        for events in appends:
            self._recorder.insert_events(events)
        self.append_ms.append((time.perf_counter() - began) * 1000 / len(appends))

    def head_ms(self) -> float:
        """Milliseconds of one read of the head, as the API, the projections and the tailer do it."""
        with self._engine.connect() as connection:
            began = time.perf_counter()
            for _ in range(READS):
                read_head(connection)
                connection.rollback()
            return (time.perf_counter() - began) * 1000 / READS

    def close(self) -> None:
        self._engine.dispose()


@contextmanager
def open_transaction(url: str) -> Iterator[None]:
    """A snapshot of the whole database, held until the end of the block."""
    engine = reader_engine(url)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.execute(text("SELECT count(*) FROM events"))
        yield
    engine.dispose()


def main(commits: int = COMMITS, events_each: int = 1) -> None:
    """``commits`` appends of ``events_each`` events on each server."""
    events = ready_events(commits * events_each)
    size = max(1, commits // ROUNDS)
    with ExitStack() as stack:
        urls = [stack.enter_context(postgres()) for _ in range(2)]
        stack.enter_context(open_transaction(urls[0]))
        with_open, alone = (Appending(url) for url in urls)
        batches = [events[first : first + events_each] for first in range(0, len(events), events_each)]
        for number, first in enumerate(range(0, commits, size)):
            appends = batches[first : first + size]
            # The order alternates, so that other load on the machine affects both.
            for one in (with_open, alone) if number % 2 else (alone, with_open):
                one.run(appends)
        reads = [one.head_ms() for one in (with_open, alone)]
        for one in (with_open, alone):
            one.close()
    last = max(1, len(alone.append_ms) // 10)

    def ms(one: Appending, end: bool) -> float:
        return statistics.median(one.append_ms[-last:] if end else one.append_ms[:last])

    figures = {
        "commits": commits,
        "beside an open transaction, ms an append, first tenth": ms(with_open, end=False),
        "beside an open transaction, ms an append, last tenth": ms(with_open, end=True),
        "alone, ms an append, first tenth": ms(alone, end=False),
        "alone, ms an append, last tenth": ms(alone, end=True),
        "beside an open transaction, appends/s, last tenth": 1000 / ms(with_open, end=True),
        "alone, appends/s, last tenth": 1000 / ms(alone, end=True),
        "ratio beside / alone, last tenth": ms(alone, end=True) / ms(with_open, end=True),
        "ratio beside / alone, all": sum(alone.append_ms) / sum(with_open.append_ms),
        "beside an open transaction, ms a reading of the head": reads[0],
        "alone, ms a reading of the head": reads[1],
    }
    report("open_transaction", figures, {"ratio beside / alone, last tenth": at_least(0.9)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=COMMITS, help="appends on each server")
    parser.add_argument("--events", type=int, default=1, help="events of one append")
    given = parser.parse_args()
    main(given.commits, given.events)
