"""``import-pings``: imports recorded tracks from CSV files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from infrastructure.cli.options import DataDirOption, JsonOption, TokenOption, UrlOption, connect
from infrastructure.errors import UserError
from infrastructure.timestamps import now_ms

Column = str | None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import-pings")(import_pings)


def import_pings(
    context: typer.Context,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="CSV files: plain, gzip, or a zip of one file.")
    ],
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    token: TokenOption = None,
    rider_column: Annotated[Column, typer.Option(help="Rider id.  \\[default: rider_id or rider]")] = None,
    latitude_column: Annotated[Column, typer.Option(help="WGS84 degrees.  \\[default: latitude]")] = None,
    longitude_column: Annotated[Column, typer.Option(help="WGS84 degrees.  \\[default: longitude]")] = None,
    time_column: Annotated[
        Column, typer.Option(help="Epoch milliseconds, or RFC 3339 with zone.  \\[default: event_timestamp_ms]")
    ] = None,
    accuracy_column: Annotated[Column, typer.Option(help="Metres.  \\[default: accuracy_meters, if present]")] = None,
    speed_column: Annotated[Column, typer.Option(help="Metres per second.  \\[default: speed_mps, if present]")] = None,
    event_id_column: Annotated[Column, typer.Option(help="UUID.  \\[default: event_id, if present]")] = None,
    mock_column: Annotated[
        Column, typer.Option(help="true or false: an app made the fix.  \\[default: is_mock, if present]")
    ] = None,
    recorded_at: Annotated[
        Column,
        typer.Option(
            metavar="COLUMN",
            help="Backfill: the column with the time at which each ping was received, as epoch milliseconds or "
            "RFC 3339 with zone. It becomes the ping's received_timestamp_ms and the event's recorded_at.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an aborted backfill, with the same files and the same log.")
    ] = False,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000,
            help="Pings per request; in a backfill, per transaction.  \\[default: 1000; in a backfill 10000]",
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Number of concurrent requests.")] = 4,
    speedup: Annotated[
        float | None, typer.Option(min=0.0, help="Multiple of real time.  \\[default: as fast as possible]")
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option(help="Write rejected rows to this CSV file: file, line, code, detail and the row.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send recorded pings to a running ridelog, or backfill an empty log with them.

    Every row is reported as accepted, duplicate, or rejected with a reason. Exits with 1 if all rows were rejected.

    Repeating an import is safe, also after it was aborted: each ping is recorded once.

    A ping that is sent to a running ridelog counts as received now, however old it is. With --recorded-at it enters
    the log with the time at which it was originally received. The log is ordered by reception. Therefore the log must
    be empty, all files must be given at once (in any order; they are sorted in files under TMPDIR), and no live pings
    may be sent until the backfill is done. A backfill needs Postgres only and does not use HTTP: it writes to the
    Postgres of a running serve, else it starts one.
    """
    from domain.event_times import FUTURE_TOLERANCE_MS
    from infrastructure.cli.backfill import BATCH_PINGS, BackfillOptions, backfill
    from infrastructure.cli.error_handling import interruptible
    from infrastructure.cli.import_report import counted, finish, interrupted_import
    from infrastructure.cli.progress import Reporter
    from infrastructure.imports.csv_reader import ImportRow, open_source, rows
    from infrastructure.imports.importer import Importer, ImportPlan, Pacer
    from infrastructure.imports.report import RejectFile

    if speedup == 0.0:
        raise typer.BadParameter("--speedup must be more than 0")
    _reject_ignored_options(context, recorded_at, resume)
    names = {"rider": rider_column, "latitude": latitude_column, "longitude": longitude_column}
    names |= {"time": time_column, "accuracy": accuracy_column, "speed": speed_column, "event-id": event_id_column}
    names |= {"mock": mock_column, "recorded-at": recorded_at}
    # All headers are read first, so that a wrong column name in the last file is reported before anything is sent.
    sources = [open_source(path, names) for path in files]
    if recorded_at is not None:
        backfill(sources, BackfillOptions(data_dir, batch or BATCH_PINGS, rejects, resume, as_json))
        return
    total = sum(path.stat().st_size for path in files)
    began = time.monotonic()
    latest_ms = now_ms() + FUTURE_TOLERANCE_MS
    interrupted = ""
    with ExitStack() as stack:
        reporter = stack.enter_context(Reporter("import", "rows", total))
        client = stack.enter_context(connect(url, data_dir, token, reporter.note))
        writer = stack.enter_context(RejectFile(rejects, sources)) if rejects else None
        done_bytes = 0

        def all_rows() -> Iterator[ImportRow]:
            nonlocal done_bytes
            before = 0
            for source in sources:

                def at_byte(position: int, before: int = before) -> None:
                    nonlocal done_bytes
                    done_bytes = before + position

                yield from rows(source, at_byte)
                before += source.path.stat().st_size

        importer = Importer(
            client.post_encoded,
            ImportPlan(batch or 1_000, concurrency, Pacer(speedup, time.monotonic, latest_ms) if speedup else None),
            pause=time.sleep,
            rejects=writer,
            on_batch=lambda tally: reporter.update(done_bytes, tally.rows),
        )
        try:
            with interruptible():
                importer.run(all_rows(), client.interrupt)
        except KeyboardInterrupt:
            interrupted = interrupted_import("repeat the import to finish it; nothing is recorded twice", writer)
        except UserError as error:
            raise UserError(
                f"{error} (of the rows sent before that: {counted(importer.tally)}; repeat the import, nothing is "
                "recorded twice)"
            ) from error
    finish(importer.tally, importer.examples, time.monotonic() - began, as_json, interrupted)


def _reject_ignored_options(context: typer.Context, recorded_at: str | None, resume: bool) -> None:
    """Raises typer.BadParameter for options that would have no effect; values from the environment are allowed."""
    if recorded_at is None:
        if resume:
            raise typer.BadParameter("--resume is for a backfill: name the reception column with --recorded-at")
        return
    for name in ("url", "token", "speedup", "concurrency"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(
                f"--{name} is for pings that are sent to a running ridelog; with --recorded-at pings are written "
                "directly to the event store, in one order"
            )
