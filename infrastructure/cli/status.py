"""``status``: shows every stage with its position, its lag, and what to do."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from infrastructure.cli.options import DataDirOption
from infrastructure.cli.output import cell, echo


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)


def status(
    data_dir: DataDirOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")] = False,
) -> None:
    """Show the position and state of every stage: the log, the tailer, Kafka and each projection.

    Exits with 1 if something is wrong, so that scripts can test it.
    """
    import msgspec
    from rich.console import Console
    from rich.table import Table

    from infrastructure.embedded.data_dir import read_run_info
    from infrastructure.embedded.stack import servers_for
    from infrastructure.settings.settings import Settings
    from infrastructure.status.collect import collect

    given = Settings.load({"data_dir": data_dir})
    info = read_run_info(given.data_dir)
    served = given.postgres_url is not None or info is not None
    with servers_for(given, ("postgres_url", "redis_url")) as settings:
        found = collect(settings, served=served, open_broker=info is not None and info.open_broker)
    if as_json:
        echo(msgspec.json.encode(found))
    else:
        table = Table("stage", "state", "position", "behind", "seconds", "what to do", box=None, pad_edge=False)
        for line in found.stages:
            behind = "" if line.lag_events is None else f"{line.lag_events:,}"
            seconds = "" if line.lag_seconds is None else f"{line.lag_seconds:,.1f}"
            position = "" if line.position is None else f"{line.position:,}"
            row = (line.stage, line.state, position, behind, seconds, line.advice)
            table.add_row(*map(cell, row))
        # Off a terminal long lines do no harm, but wrapped cells break programs that read the output.
        Console(soft_wrap=True, width=None if sys.stdout.isatty() else 200).print(table)
    raise typer.Exit(0 if found.good else 1)
