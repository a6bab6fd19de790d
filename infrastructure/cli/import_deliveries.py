"""``import-deliveries``: writes a company's order history, with its own times, to an empty log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infrastructure.cli.options import DataDirOption, JsonOption

Named = list[str] | None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import-deliveries")(import_deliveries)


def import_deliveries(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="CSV files of orders: plain, gzip, or a zip of one file.")
    ],
    pings: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A CSV file of pings of the same time, as import-pings reads it; may be given several times.",
        ),
    ] = None,
    column: Annotated[
        Named,
        typer.Option(
            "--column", metavar="FIELD=NAME", help="Read FIELD from the column NAME; may be given several times."
        ),
    ] = None,
    ping_column: Annotated[
        Named,
        typer.Option(
            "--ping-column",
            metavar="FIELD=NAME",
            help="The same for --pings: rider, latitude, longitude, time, accuracy, speed, event-id, mock, recorded-at "
            "(when a ping was received).  \\[default of recorded-at: the time of the ping]",
        ),
    ] = None,
    time_zone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE",
            help="Time zone of the city, IANA, for orders without one; also that of times without a zone.  "
            "\\[default: UTC]",
        ),
    ] = None,
    naive_zone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE",
            help="Time zone of times without a zone, if it is another one: UTC for most exports of a database.  "
            "\\[default: the order's own, else --time-zone]",
        ),
    ] = None,
    currency: Annotated[str, typer.Option(help="Currency of orders without one, ISO 4217.")] = "EUR",
    city: Annotated[str | None, typer.Option(help="City of orders without one.")] = None,
    data_dir: DataDirOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Read and judge every row, and record nothing; needs no database.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an aborted import, with the same files, options and log.")
    ] = False,
    batch: Annotated[
        int, typer.Option(min=1, max=100_000, help="Steps of orders, and pings, per transaction.")
    ] = 10_000,
    rejects: Annotated[
        Path | None, typer.Option(help="Write rejected rows to this CSV file: file, line, code, detail and the row.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the history of your orders to an empty log, so that a model can be trained before the first live day.

    A row is one order that is over. Columns are found by their names; --check shows which one is read as what.

    Needed: order (an id); restaurant and customer, each as "latitude,longitude" in one column or as two columns
    (restaurant_latitude, restaurant_longitude); placed; completed, or cancelled instead of it.

    Optional: rider; assigned, picked_up, arrived; promised_seconds, promised_minutes, or promised (seconds from
    placed, or an instant); items; preparation_seconds or preparation_minutes; city; time_zone; currency.

    A time is epoch seconds or milliseconds, RFC 3339, or a local time such as 2026-01-31 12:00:00 with --time-zone.
    Empty cells, NA, NaN, NULL and None are no value. What is not known stays unknown: an order without an assigned
    time is unassigned until the next stage that has a time, and one without a rider has a rider of its own.

    Events enter the log as of the times of their stages, in one order over all files. So the log must be empty, all
    files are given at once, and nothing may be sent to it until the import is done. It needs Postgres only: that of a
    running serve, else it starts one. Every row is reported as accepted, duplicate, or rejected with a reason.

    Example: python app.py import-deliveries orders.csv --pings tracks.csv.gz --time-zone Europe/Helsinki

    docs/import-deliveries.md explains what a history can teach a model, and what it cannot.
    """
    from infrastructure.cli.order_backfill import OrderImport, import_orders
    from infrastructure.imports.csv_reader import OPTIONAL, REQUIRED
    from infrastructure.imports.order_columns import FIELDS
    from infrastructure.imports.order_rows import OrderDefaults

    import_orders(
        OrderImport(
            files,
            pings or [],
            _names("--column", column or [], FIELDS),
            _names("--ping-column", ping_column or [], (*REQUIRED, *OPTIONAL)),
            OrderDefaults(time_zone or "UTC", currency, city, naive_zone, is_zone_given=time_zone is not None),
            data_dir,
            check,
            resume,
            batch,
            rejects,
            as_json,
        )
    )


def _names(option: str, given: list[str], fields: tuple[str, ...]) -> dict[str, str]:
    """FIELD=NAME as a mapping. Raises typer.BadParameter."""
    names: dict[str, str] = {}
    for each in given:
        field, is_pair, name = each.partition("=")
        if not is_pair or not name.strip() or field.strip() not in fields:
            raise typer.BadParameter(f"{option} {each!r} is not FIELD=NAME with a field of {', '.join(fields)}")
        names[field.strip()] = name.strip()
    return names
