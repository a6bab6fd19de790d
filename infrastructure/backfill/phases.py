"""The two phases of a backfill: read and sort every row, then record the sorted pings in large transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from domain.errors import PingRejected
from domain.gps_ping import GpsPing
from domain.ping_decisions import PingOutcome
from infrastructure.backfill.books import Books
from infrastructure.backfill.judging import judged
from infrastructure.backfill.runs import Entry
from infrastructure.backfill.sorting import Sorter
from infrastructure.client.imports.csv_rows import Source, rows

Record = Callable[[Sequence[GpsPing]], list[PingOutcome]]
Show = Callable[[int, int], None]
"""Called with (bytes read, rows) while sorting, with (pings, pings) while recording."""

TELL_EVERY = 1_000


def sort_rows(sources: Sequence[Source], sorter: Sorter, books: Books, now_ms: int, show: Show) -> int:
    """Put every row into ``sorter`` or, refused, into ``books``; how many there were.

    Raises UserError when a file is broken, OSError when there is no room for sorting.
    """
    count = before = done = 0

    def at_byte(position: int) -> None:
        nonlocal done
        done = before + position

    for file, source in enumerate(sources):
        for row in rows(source, at_byte):
            count += 1
            try:
                sorter.add(judged(row, file, now_ms))
            except PingRejected as error:
                books.refused(row, error)
            if count % TELL_EVERY == 0:
                show(done, count)
        before += source.path.stat().st_size
    return count


def record_sorted(entries: Iterable[Entry], batch: int, record: Record, books: Books, show: Show) -> None:
    """Record ``entries``, which are in order, ``batch`` pings a transaction. Raises what ``record`` raises.

    What is in the books then is recorded for good, and nothing of the batch that failed.
    """
    rest = iter(entries)
    done = 0
    while part := list(islice(rest, batch)):
        books.recorded(part, record([entry.ping for entry in part]))
        done += len(part)
        show(done, done)
