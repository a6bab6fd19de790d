"""The two phases of a backfill: read and sort every row, then record the sorted pings in large transactions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Engine

from domain.deliveries.joint_backfill import JointBackfill
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


def validate_row(row: ImportRow, file: int, now_ms: int) -> SortEntry:
    """Check a row of the ``file``-th file by the rules of ``POST /pings`` as of the row's own reception time.

    ``now_ms`` is the machine's clock. Raises one of the PingRejected errors.
    """
    if row.item is None or row.received_ms is None:
        raise InvalidType(row.problem or "reception is missing")
    if row.received_ms > now_ms:
        # recorded_at must never be ahead of the clock: every live event recorded later would get that time too.
        raise TimestampInFuture("its reception time is later than the clock of this machine")
    ping = parse_ping(_decoded(row.item), row.received_ms)
    cells = tuple(cell.encode("utf-8", "surrogateescape") for cell in row.cells)
    return SortEntry(row.received_ms, file, row.line, ping, cells)


def _decoded(item: bytes) -> Any:
    try:
        return _DECODER.decode(item)
    except msgspec.DecodeError:
        # NaN and Infinity, which are rejected by name.
        return json.loads(item)


class BackfillHistory(NamedTuple):
    """The commands on riders, those on riders and deliveries, and the database of the log that they write to."""

    riders: Riders
    joint: JointBackfill
    engine: Engine

    def position(self) -> int:
        """The last position of the log. Raises PortUnavailable."""
        with unavailable_as_port_error(), self.engine.connect() as connection:
            return read_head(connection).position

    def refuse_unless_empty(self, after_abort: str) -> None:
        """Raises UserError if the log has events, PortUnavailable. ``after_abort``: what to do after an aborted run."""
        events = self.position()
        if events:
            raise UserError(
                f"the log has {events:,} events already, and the history would have to come before them: name a fresh "
                f"--data-dir or database; {after_abort}"
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
            joint = JointBackfill(backends.riders)
            yield BackfillHistory(backends.riders, joint, backends.engine)


RecordPings = Callable[[Sequence[GpsPing]], list[PingOutcome]]
ShowProgress = Callable[[int, int], None]
"""Progress callback: takes (bytes read, rows) while sorting and (pings, pings) while recording."""

PROGRESS_INTERVAL_ROWS = 1_000


def sort_rows(
    sources: Sequence[CsvSource],
    sorter: ExternalSorter[SortEntry],
    report: ImportReport,
    now_ms: int,
    show: ShowProgress,
) -> int:
    """Add every valid row to ``sorter`` and every rejected row to ``report``. Returns the number of rows.

    Raises UserError if a file is damaged, OSError if the disk has no space for sorting.
    """
    count = before = done = 0

    def at_byte(position: int) -> None:
        nonlocal done
        done = before + position

    for file, source in enumerate(sources):
        for row in rows(source, at_byte):
            count += 1
            try:
                sorter.add(validate_row(row, file, now_ms))
            except PingRejected as error:
                report.add_rejected(row, error)
            if count % PROGRESS_INTERVAL_ROWS == 0:
                show(done, count)
        before += source.path.stat().st_size
    return count


def record_sorted(
    entries: Iterable[SortEntry], batch: int, record: RecordPings, report: ImportReport, show: ShowProgress
) -> None:
    """Record the sorted ``entries``, ``batch`` pings per transaction. Raises what ``record`` raises.

    After an error, the batches that are in the report are committed, and nothing of the failed batch is.
    """
    rest = iter(entries)
    done = 0
    while part := list(islice(rest, batch)):
        report.add_recorded(part, record([entry.ping for entry in part]))
        done += len(part)
        show(done, done)
