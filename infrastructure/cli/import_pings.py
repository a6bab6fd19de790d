"""``import-pings``: recorded tracks from CSV files."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infrastructure.cli.client_options import TokenOption, UrlOption, connect
from infrastructure.cli.errors import UserError
from infrastructure.cli.options import DataDirOption, JsonOption

if TYPE_CHECKING:
    from infrastructure.client.imports.tally import Tally

Column = str | None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import-pings")(import_pings)


def import_pings(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV files, plain or gzip.")],
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    token: TokenOption = None,
    rider_column: Annotated[Column, typer.Option(help="Rider.  \\[default: rider_id or rider]")] = None,
    latitude_column: Annotated[Column, typer.Option(help="WGS84 degrees.  \\[default: latitude]")] = None,
    longitude_column: Annotated[Column, typer.Option(help="WGS84 degrees.  \\[default: longitude]")] = None,
    time_column: Annotated[
        Column, typer.Option(help="Epoch milliseconds, or RFC 3339 with zone.  \\[default: event_timestamp_ms]")
    ] = None,
    accuracy_column: Annotated[Column, typer.Option(help="Metres.  \\[default: accuracy_meters, if there]")] = None,
    speed_column: Annotated[Column, typer.Option(help="Metres a second.  \\[default: speed_mps, if there]")] = None,
    event_id_column: Annotated[Column, typer.Option(help="UUID.  \\[default: event_id, if there]")] = None,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Pings in one request.")] = 1_000,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Requests at a time.")] = 4,
    speedup: Annotated[
        float | None, typer.Option(min=0.0, help="Multiple of real time.  \\[default: as fast as it goes]")
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option(help="Write rejected rows here, as CSV: file, line, code, detail and the row.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send recorded pings to a running ridelog.

    Every row is accounted for: accepted, duplicate, or rejected for a reason. Exits with 1 if all were rejected.

    It is safe to repeat an import, also one that broke off: a ping is recorded once.
    """
    from domain.gps_ping import FUTURE_TOLERANCE_MS
    from infrastructure.cli.interrupts import INTERRUPTED, interruptible
    from infrastructure.cli.progress import Reporter
    from infrastructure.client.imports.csv_rows import Row, open_source, rows
    from infrastructure.client.imports.importer import Importer, Plan
    from infrastructure.client.imports.pacing import Pacer
    from infrastructure.client.imports.rejects import Rejects

    if speedup == 0.0:
        raise typer.BadParameter("--speedup must be more than 0")
    names = {"rider": rider_column, "latitude": latitude_column, "longitude": longitude_column}
    names |= {"time": time_column, "accuracy": accuracy_column, "speed": speed_column, "event-id": event_id_column}
    # All headers first: a wrong name in the last file should not cost an import of the others.
    sources = [open_source(path, names) for path in files]
    total = sum(path.stat().st_size for path in files)
    began = time.monotonic()
    latest_ms = time.time_ns() // 1_000_000 + FUTURE_TOLERANCE_MS
    interrupted = False
    with ExitStack() as stack:
        reporter = stack.enter_context(Reporter("import", "rows", total))
        client = stack.enter_context(connect(url, data_dir, token, reporter.note))
        writer = stack.enter_context(Rejects(rejects, sources)) if rejects else None
        done_bytes = 0

        def all_rows() -> Iterator[Row]:
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
            Plan(batch, concurrency, Pacer(speedup, time.monotonic, latest_ms) if speedup else None),
            pause=time.sleep,
            rejects=writer,
            on_batch=lambda tally: reporter.update(done_bytes, tally.rows),
        )
        try:
            with interruptible():
                importer.run(all_rows(), client.interrupt)
        except KeyboardInterrupt:
            interrupted = True
        except UserError as error:
            counted = importer.tally
            raise UserError(
                f"{error} (of the rows sent before: {counted.accepted:,} accepted, {counted.duplicates:,} duplicates, "
                f"{counted.rejected.total():,} rejected; repeat the import, nothing is recorded twice)"
            ) from error
    tally = importer.tally
    _tell(tally, time.monotonic() - began, as_json)
    for line in importer.examples.lines:
        typer.echo(f"for example {line}", err=True)
    if interrupted:
        typer.echo("interrupted; repeat the import to finish it, nothing is recorded twice", err=True)
        raise typer.Exit(INTERRUPTED)
    if tally.unaccounted:
        raise UserError(f"{tally.unaccounted:,} rows are not accounted for; please report this")
    hint = importer.examples.hint
    if tally.rows and tally.rejected.total() == tally.rows:
        raise UserError(f"none of {tally.rows:,} rows was recorded, all were rejected{f' ({hint})' if hint else ''}")
    if hint:
        typer.echo(f"hint: {hint}", err=True)


def _tell(tally: Tally, seconds: float, as_json: bool) -> None:
    rate = tally.rows / max(seconds, 1e-3)
    if as_json:
        typer.echo(json.dumps(tally.summary() | {"seconds": round(seconds, 3), "rows_per_second": round(rate, 1)}))
        return
    lines = [("rows read", tally.rows), ("accepted", tally.accepted), ("duplicates", tally.duplicates)]
    lines += [(f"rejected {code}", count) for code, count in sorted(tally.rejected.items())]
    for name, count in lines:
        typer.echo(f"{name:<32}{count:>14,}")
    typer.echo(f"{seconds:.1f} s, {rate:,.0f} rows/s")
