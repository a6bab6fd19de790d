"""Runs ``import-deliveries``: reads and judges every row first, then records all steps and pings in their order."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from infrastructure.cli.output import echo
from infrastructure.errors import UserError

if TYPE_CHECKING:
    from infrastructure.imports.backfill import BackfillHistory
    from infrastructure.imports.csv_reader import CsvSource
    from infrastructure.imports.order_columns import OrderFile
    from infrastructure.imports.order_report import OrderReport
    from infrastructure.imports.order_rows import OrderDefaults
    from infrastructure.imports.report import ImportReport


class OrderImport(NamedTuple):
    """The options of the command line. ``columns`` and ``ping_columns``: the user's column names by field."""

    files: Sequence[Path]
    pings: Sequence[Path]
    columns: dict[str, str]
    ping_columns: dict[str, str]
    defaults: OrderDefaults
    data_dir: Path | None
    check: bool
    resume: bool
    batch: int
    rejects: Path | None
    as_json: bool


class _Job(NamedTuple):
    options: OrderImport
    orders: OrderReport
    pings: ImportReport | None
    order_sources: Sequence[OrderFile]
    ping_sources: Sequence[CsvSource]

    def so_far(self) -> str:
        from infrastructure.cli.import_report import counted

        pings = f"; pings: {counted(self.pings.tally)}" if self.pings is not None else ""
        return f"(orders so far: {counted(self.orders.tally)}{pings})"


def import_orders(options: OrderImport) -> None:
    """Import all files. Raises UserError, typer.Exit, typer.BadParameter."""
    from infrastructure.cli.error_handling import interruptible
    from infrastructure.cli.import_report import interrupted_import
    from infrastructure.imports.order_columns import open_orders
    from infrastructure.imports.order_report import OrderReport
    from infrastructure.imports.report import ImportReport, RejectFile
    from infrastructure.process_pool import tune_gc

    _check_defaults(options.defaults)
    began = time.monotonic()
    interrupted = ""
    # All headers are read first, so that a wrong column name in the last file is reported before anything is done.
    orders = [open_orders(path, options.columns) for path in options.files]
    pings = [_open_pings(path, options.ping_columns) for path in options.pings]
    for source in orders:
        echo(source.used(), err=True)
    tune_gc()
    with ExitStack() as stack:
        writer = stack.enter_context(RejectFile(options.rejects, [*orders, *pings])) if options.rejects else None
        job = _Job(options, OrderReport(orders, writer), ImportReport(pings, writer) if pings else None, orders, pings)
        try:
            with interruptible(), _as_user_error(job):
                _run(job)
        except KeyboardInterrupt:
            advice = (
                "nothing was recorded"
                if options.check
                else "repeat the import with --resume to finish it; nothing is recorded twice"
            )
            interrupted = interrupted_import(advice, writer)
    _finish(job, time.monotonic() - began, interrupted)


def _check_defaults(defaults: OrderDefaults) -> None:
    """Raises typer.BadParameter, before each row would be rejected for it."""
    from domain.deliveries.values import check_currency, check_time_zone
    from domain.errors import DomainError

    for option, check, value in (
        ("--time-zone", check_time_zone, defaults.time_zone),
        ("--naive-zone", check_time_zone, defaults.naive_zone),
        ("--currency", check_currency, defaults.currency),
    ):
        try:
            if value is not None:
                check(value)
        except DomainError as error:
            raise typer.BadParameter(f"{option} {value}: {error}") from error


def _open_pings(path: Path, names: dict[str, str]) -> CsvSource:
    """A file of pings; without a column of reception a ping counts as received when it was taken. Raises UserError."""
    from infrastructure.imports.csv_reader import open_source

    source = open_source(path, names)
    columns = source.columns
    return (
        source
        if columns.recorded_at is not None
        else source._replace(columns=columns._replace(recorded_at=columns.time))
    )


def _run(job: _Job) -> None:
    from infrastructure.cli.progress import Reporter
    from infrastructure.client.messages import PostReceipt
    from infrastructure.imports.backfill import sort_rows
    from infrastructure.imports.external_sort import ExternalSorter, SortEntry
    from infrastructure.imports.order_backfill import OrderRecorder, read_orders, settle_orders
    from infrastructure.imports.order_entries import OrderEntry, StepEntry
    from infrastructure.timestamps import now_ms

    options = job.options
    with (
        nullcontext() if options.check else _opened(options) as history,
        tempfile.TemporaryDirectory(prefix="ridelog-sort-") as name,
    ):
        # Each sorter has a directory of its own: runs are numbered by sorter.
        by_order, by_time, of_pings = (Path(name, each) for each in ("orders", "steps", "pings"))
        for each in (by_order, by_time, of_pings):
            each.mkdir()
        orders, steps = ExternalSorter(by_order, OrderEntry), ExternalSorter(by_time, StepEntry)
        pings = ExternalSorter(of_pings, SortEntry)
        clock_ms = now_ms()
        try:
            with Reporter("read orders", "rows", _size(options.files)) as shown:
                rows = read_orders(job.order_sources, options.defaults, clock_ms, orders, job.orders, shown.update)
            ping_rows = 0
            if job.pings is not None:
                with Reporter("sort pings", "rows", _size(options.pings)) as shown:
                    ping_rows = sort_rows(job.ping_sources, pings, job.pings, clock_ms, shown.update)
        except UserError as error:
            raise UserError(f"{error} (nothing was recorded)") from error
        with Reporter("sort orders", "orders", orders.count) as shown:
            settled = settle_orders(orders.in_order(), steps, job.orders, shown.update)
        if history is None:
            job.orders.add_acceptable(settled)
            if job.pings is not None:
                job.pings.tally.add(pings.count, PostReceipt(accepted=pings.count))
            return
        recorder = OrderRecorder(history.joint.record, job.orders, job.pings)
        with Reporter("record", "steps and pings", steps.count + pings.count) as shown:
            recorder.run(steps.in_order(), pings.in_order(), options.batch, shown.update)
        job.orders.tally.position = history.position()
    _check_accounted(job, rows, ping_rows)


@contextmanager
def _opened(options: OrderImport) -> Iterator[BackfillHistory]:
    from infrastructure.imports.backfill import open_history
    from infrastructure.settings.settings import Settings

    with open_history(Settings.load({"data_dir": options.data_dir})) as history:
        if not options.resume:
            # Checked before reading, because reading may take long.
            history.refuse_unless_empty("if this import was aborted, continue it with --resume")
        yield history


def _size(files: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in files)


def _check_accounted(job: _Job, rows: int, ping_rows: int) -> None:
    """Raises UserError if a row has no verdict."""
    missing = rows - job.orders.tally.rows + (ping_rows - job.pings.tally.rows if job.pings is not None else 0)
    if missing:
        raise UserError(f"{missing:,} rows are not accounted for; this is a defect, please report it")


@contextmanager
def _as_user_error(job: _Job) -> Iterator[None]:
    """Turn what stops an import into one line with the counts so far. Raises UserError."""
    from eventsourcing.persistence import PersistenceError

    from domain.event_store import OrderBroken
    from infrastructure.cli.backfill import order_broken
    from infrastructure.schema_registry.client import RegistryUnavailable
    from projections.core.ports import PortUnavailable, SinkRejected

    try:
        yield
    except OrderBroken as error:
        raise UserError(f"{order_broken(error, job.options.resume, 'step')} {job.so_far()}") from error
    except (PersistenceError, PortUnavailable, SinkRejected, RegistryUnavailable) as error:
        raise UserError(
            f"the event store failed: {error}; repeat the import with --resume (nothing is recorded twice) "
            f"{job.so_far()}"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot sort in {tempfile.gettempdir()}: {error}; set TMPDIR to a directory with more space and repeat "
            f"the import with --resume {job.so_far()}"
        ) from error


def _finish(job: _Job, seconds: float, interrupted: str) -> None:
    """Print the report. Raises UserError if every row was rejected, typer.Exit after an interrupt."""
    from infrastructure.cli.error_handling import INTERRUPTED
    from infrastructure.imports.order_report import FINDINGS

    tally = job.orders.tally
    if job.options.as_json:
        echo(json.dumps(_document(job, seconds)))
    else:
        accepted = "acceptable (nothing is recorded)" if job.options.check else "accepted"
        lines = [("orders read", tally.rows), (accepted, tally.accepted), ("duplicates", tally.duplicates)]
        lines += [(f"rejected {code}", count) for code, count in sorted(tally.rejected.items())]
        if job.pings is not None:
            pings = job.pings.tally
            lines += [("pings read", pings.rows), ("pings accepted", pings.accepted)]
            lines += [("pings duplicates", pings.duplicates)]
            lines += [(f"pings rejected {code}", count) for code, count in sorted(pings.rejected.items())]
        for name, count in lines:
            echo(f"{name:<32}{count:>14,}")
        for name, meaning in FINDINGS.items():
            if job.orders.findings[name]:
                echo(f"{job.orders.findings[name]:,} {meaning}")
        echo(f"{seconds:.1f} s, {tally.rows / max(seconds, 1e-3):,.0f} orders/s")
    examples = [*job.orders.examples.lines, *(job.pings.examples.lines if job.pings is not None else ())]
    for line in examples:
        echo(f"for example {line}", err=True)
    if not job.options.defaults.is_zone_given and not any(
        one.columns.time_zone is not None for one in job.order_sources
    ):
        echo("hint: hours of the day are those of UTC; name the city's zone with --time-zone", err=True)
    if interrupted:
        echo(f"interrupted; {interrupted}", err=True)
        raise typer.Exit(INTERRUPTED)
    if tally.rows and tally.rejected.total() == tally.rows:
        raise UserError(f"none of {tally.rows:,} orders can be recorded; all were rejected")


def _document(job: _Job, seconds: float) -> dict[str, Any]:
    document = job.orders.summary()
    if job.pings is not None:
        document["pings"] = job.pings.tally.summary()
        del document["pings"]["position"]
    rate = document["rows"] / max(seconds, 1e-3)
    return document | {"seconds": round(seconds, 3), "orders_per_second": round(rate, 1)}
