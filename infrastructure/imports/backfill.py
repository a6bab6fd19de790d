"""The two phases of a backfill: read and sort every row, then record the sorted pings in large transactions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Engine

from domain.errors import InvalidType, PingRejected, TimestampInFuture
from domain.gps_ping import GpsPing, parse_ping
from domain.riders.application import Riders
from domain.riders.ping_batch import PingOutcome
from infrastructure.backends import EVENT_STORE_SETTINGS, open_backends
from infrastructure.embedded.stack import attach, servers_for
from infrastructure.errors import UserError
from infrastructure.event_store.log_head import read_head
from infrastructure.imports.csv_reader import CsvSource, ImportRow, rows
from infrastructure.imports.external_sort import ExternalSorter, SortEntry
from infrastructure.imports.report import ImportReport
from infrastructure.postgres import migrations
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.settings.settings import Settings

_DECODER = msgspec.json.Decoder()


def validate_rows(row: ImportRow, file: int, now_ms: int) -> SortEntry:
    """The row's ping, in the ``file``-th file, received when the row says; ``now_ms`` is the machine's clock.

    Raises one of the PingRejected errors.
    """
    if row.item is None or row.received_ms is None:
        raise InvalidType(row.problem or "reception is missing")
    if row.received_ms > now_ms:
        # recorded_at never lies ahead of the clock: all that is recorded live afterwards would have to be as late.
        raise TimestampInFuture("its reception lies after the clock of this machine")
    ping = parse_ping(_decoded(row.item), row.received_ms)
    cells = tuple(cell.encode("utf-8", "surrogateescape") for cell in row.cells)
    return SortEntry(row.received_ms, file, row.line, ping, cells)


def _decoded(item: bytes) -> Any:
    try:
        return _DECODER.decode(item)
    except msgspec.DecodeError:
        # NaN and Infinity, which are refused by name.
        return json.loads(item)


class BackfillHistory(NamedTuple):
    """The commands on riders, and the log that they write to."""

    riders: Riders
    engine: Engine

    def refuse_unless_empty(self) -> None:
        """Raises UserError, PortUnavailable."""
        with unavailable_as_port_error(), self.engine.connect() as connection:
            events = read_head(connection).position
        if events:
            raise UserError(
                f"the log has {events:,} events already, and history would lie before them: name a fresh --data-dir "
                "or database; or, if this very import was broken off, go on with --resume"
            )


@contextmanager
def open_history(settings: Settings) -> Iterator[BackfillHistory]:
    """Open the log next to a running `serve`, or with a Postgres that runs for as long as the import.

    A `serve` publishes what is recorded when it next runs.

    Raises UserError, also for an external database at another revision; PortUnavailable.
    """
    ours = settings.postgres_url is None and attach(settings) is None
    with servers_for(settings, EVENT_STORE_SETTINGS, create=True) as served:
        assert served.postgres_url is not None
        if ours:
            migrations.upgrade(served.postgres_url)
        with open_backends(served) as backends:
            yield BackfillHistory(backends.riders, backends.engine)


Record = Callable[[Sequence[GpsPing]], list[PingOutcome]]
Show = Callable[[int, int], None]
"""Called with (bytes read, rows) while sorting, with (pings, pings) while recording."""

PROGRESS_INTERVAL_ROWS = 1_000


def sort_rows(
    sources: Sequence[CsvSource], sorter: ExternalSorter, books: ImportReport, now_ms: int, show: Show
) -> int:
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
                sorter.add(validate_rows(row, file, now_ms))
            except PingRejected as error:
                books.refused(row, error)
            if count % PROGRESS_INTERVAL_ROWS == 0:
                show(done, count)
        before += source.path.stat().st_size
    return count


def record_sorted(entries: Iterable[SortEntry], batch: int, record: Record, books: ImportReport, show: Show) -> None:
    """Record ``entries``, which are in order, ``batch`` pings a transaction. Raises what ``record`` raises.

    What is in the books then is recorded for good, and nothing of the batch that failed.
    """
    rest = iter(entries)
    done = 0
    while part := list(islice(rest, batch)):
        books.recorded(part, record([entry.ping for entry in part]))
        done += len(part)
        show(done, done)
