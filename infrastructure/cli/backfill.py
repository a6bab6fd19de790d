"""``import-pings --recorded-at``: history with its own times of reception, straight into an empty log."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from domain.timestamps import utc_datetime
from infrastructure.errors import UserError

if TYPE_CHECKING:
    from domain.event_store import OrderBroken
    from infrastructure.imports.csv_reader import CsvSource
    from infrastructure.imports.report import ImportReport

BATCH = 10_000
"""Pings in one transaction: what it costs beside its rows is then nothing, and the log's lock is held for a moment."""


class BackfillOptions(NamedTuple):
    """What the command line said."""

    data_dir: Path | None
    batch: int
    rejects: Path | None
    resume: bool
    as_json: bool


def backfill(sources: Sequence[CsvSource], options: BackfillOptions) -> None:
    """Sort all rows by reception and record them. Raises UserError, typer.Exit."""
    from eventsourcing.persistence import PersistenceError

    from domain.event_store import OrderBroken
    from infrastructure.cli.error_handling import interruptible
    from infrastructure.cli.import_report import finish
    from infrastructure.imports.report import ImportReport, RejectFile
    from infrastructure.process_pool import tune_gc
    from infrastructure.schema_registry.client import RegistryUnavailable
    from projections.core.ports import PortUnavailable, SinkRejected

    began = time.monotonic()
    interrupted = ""
    tune_gc()
    with ExitStack() as stack:
        writer = stack.enter_context(RejectFile(options.rejects, sources)) if options.rejects else None
        books = ImportReport(sources, writer)
        try:
            with interruptible():
                _run(sources, options, books)
        except KeyboardInterrupt:
            interrupted = "repeat the import with --resume to finish it, nothing is recorded twice"
        except OrderBroken as error:
            raise UserError(f"{_broken(error, options.resume)} {_so_far(books)}") from error
        except (PersistenceError, PortUnavailable, SinkRejected, RegistryUnavailable) as error:
            raise UserError(
                f"the event store failed: {error}; repeat the import with --resume, nothing is recorded twice "
                f"{_so_far(books)}"
            ) from error
    finish(books.tally, books.examples, time.monotonic() - began, options.as_json, interrupted)


def _run(sources: Sequence[CsvSource], options: BackfillOptions, books: ImportReport) -> None:
    from infrastructure.cli.progress import Reporter
    from infrastructure.event_store.recorder import now_ms
    from infrastructure.imports.backfill import open_history, record_sorted, sort_rows
    from infrastructure.imports.external_sort import ExternalSorter
    from infrastructure.settings.settings import Settings

    with (
        open_history(Settings.load({"data_dir": options.data_dir})) as history,
        tempfile.TemporaryDirectory(prefix="ridelog-sort-") as directory,
    ):
        if not options.resume:
            # Before the sorting, which may take long.
            history.refuse_unless_empty()
        sorter = ExternalSorter(Path(directory))
        try:
            with Reporter("sort", "rows", sum(source.path.stat().st_size for source in sources)) as shown:
                try:
                    rows = sort_rows(sources, sorter, books, now_ms(), shown.update)
                except UserError as error:
                    raise UserError(f"{error} (nothing was recorded)") from error
            with Reporter("record", "pings", sorter.count) as shown:
                record_sorted(sorter.in_order(), options.batch, history.riders.backfill, books, shown.update)
        except OSError as error:
            raise UserError(
                f"cannot sort in {directory}: {error}; TMPDIR may name a larger place. Repeat the import with "
                f"--resume {_so_far(books)}"
            ) from error
    if rows != books.tally.rows:
        raise UserError(f"{rows - books.tally.rows:,} rows are not accounted for; please report this")


def _broken(error: OrderBroken, resume: bool) -> str:
    given, earliest, latest = (_moment(ms) for ms in (error.given_ms, error.earliest_ms, error.latest_ms))
    if error.given_ms > error.latest_ms:
        return f"the log's order would break: a ping was received at {given}, and the clock is at {latest} only."
    who = (
        "these files have pings that the import before had not, or others were recorded since by a running `serve`"
        if resume
        else "others were recorded since this import began, as by a running `serve` that gets live pings"
    )
    return (
        f"the log's order would break: a ping received at {given} would come after position {error.position:,}, "
        f"recorded at {earliest}: {who}. Nothing of its batch was recorded; begin anew with all files and a fresh "
        "--data-dir or database, and without live pings until it is done."
    )


def _moment(ms: int) -> str:
    return utc_datetime(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _so_far(books: ImportReport) -> str:
    from infrastructure.cli.import_report import counted

    return f"(so far: {counted(books.tally)})"
