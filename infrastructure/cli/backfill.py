"""``import-pings --recorded-at``: writes history, with its original reception times, directly to an empty log."""

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

BATCH_PINGS = 10_000
"""Pings per transaction: enough to make the fixed cost of a transaction negligible, and few enough that the log's lock
is held only briefly."""


class BackfillOptions(NamedTuple):
    """The options of the command line."""

    data_dir: Path | None
    batch: int
    rejects: Path | None
    resume: bool
    as_json: bool


def backfill(sources: Sequence[CsvSource], options: BackfillOptions) -> None:
    """Sort all rows by reception time and record them. Raises UserError, typer.Exit."""
    from eventsourcing.persistence import PersistenceError

    from domain.event_store import OrderBroken
    from infrastructure.cli.error_handling import interruptible
    from infrastructure.cli.import_report import finish, interrupted_import
    from infrastructure.imports.report import ImportReport, RejectFile
    from infrastructure.process_pool import tune_gc
    from infrastructure.schema_registry.client import RegistryUnavailable
    from projections.core.ports import PortUnavailable, SinkRejected

    began = time.monotonic()
    interrupted = ""
    tune_gc()
    with ExitStack() as stack:
        writer = stack.enter_context(RejectFile(options.rejects, sources)) if options.rejects else None
        report = ImportReport(sources, writer)
        try:
            with interruptible():
                _run(sources, options, report)
        except KeyboardInterrupt:
            advice = "repeat the import with --resume to finish it; nothing is recorded twice"
            interrupted = interrupted_import(advice, writer)
        except OrderBroken as error:
            raise UserError(f"{order_broken(error, options.resume)} {_so_far(report)}") from error
        except (PersistenceError, PortUnavailable, SinkRejected, RegistryUnavailable) as error:
            raise UserError(
                f"the event store failed: {error}; repeat the import with --resume (nothing is recorded twice) "
                f"{_so_far(report)}"
            ) from error
    finish(report.tally, report.examples, time.monotonic() - began, options.as_json, interrupted)


def _run(sources: Sequence[CsvSource], options: BackfillOptions, report: ImportReport) -> None:
    from infrastructure.cli.progress import Reporter
    from infrastructure.imports.backfill import open_history, record_sorted, sort_rows
    from infrastructure.imports.external_sort import ExternalSorter, SortEntry
    from infrastructure.settings.settings import Settings
    from infrastructure.timestamps import now_ms

    with (
        open_history(Settings.load({"data_dir": options.data_dir})) as history,
        tempfile.TemporaryDirectory(prefix="ridelog-sort-") as directory,
    ):
        if not options.resume:
            # Checked before sorting, because sorting may take long.
            history.refuse_unless_empty("if this import was aborted, continue it with --resume")
        sorter = ExternalSorter(Path(directory), SortEntry)
        try:
            with Reporter("sort", "rows", sum(source.path.stat().st_size for source in sources)) as shown:
                try:
                    rows = sort_rows(sources, sorter, report, now_ms(), shown.update)
                except UserError as error:
                    raise UserError(f"{error} (nothing was recorded)") from error
            with Reporter("record", "pings", sorter.count) as shown:
                record_sorted(sorter.in_order(), options.batch, history.riders.backfill, report, shown.update)
        except OSError as error:
            raise UserError(
                f"cannot sort in {directory}: {error}; set TMPDIR to a directory with more space and repeat the import "
                f"with --resume {_so_far(report)}"
            ) from error
    if rows != report.tally.rows:
        raise UserError(f"{rows - report.tally.rows:,} rows are not accounted for; this is a defect, please report it")


def order_broken(error: OrderBroken, resume: bool, what: str = "ping") -> str:
    """What to do when other things were recorded meanwhile. ``what`` is recorded: a ping, or a step of an order."""
    given, earliest, latest = (_moment(ms) for ms in (error.given_ms, error.earliest_ms, error.latest_ms))
    if error.given_ms > error.latest_ms:
        return f"the log's order would break: a {what} was received at {given}, but the clock is only at {latest}."
    cause = (
        f"these files have {what}s that the aborted import did not have, or a running `serve` has recorded others since"
        if resume
        else f"other {what}s were recorded since this import began, for example by a running `serve` that gets live "
        "pings"
    )
    return (
        f"the log's order would break: a {what} received at {given} would come after position {error.position:,}, "
        f"recorded at {earliest}. Cause: {cause}. No {what} of its batch was recorded. Start again with all files and "
        "a fresh --data-dir or database, and send no live pings until it is done."
    )


def _moment(ms: int) -> str:
    return utc_datetime(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _so_far(report: ImportReport) -> str:
    from infrastructure.cli.import_report import counted

    return f"(so far: {counted(report.tally)})"
