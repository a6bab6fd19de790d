"""``fraud-labels``: writes the reviews of alerts to a file, as labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infrastructure.cli.options import DataDirOption, JsonOption
from infrastructure.cli.output import echo, echo_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fraud-labels")(fraud_labels)


def fraud_labels(
    out: Annotated[Path, typer.Option(metavar="FILE", help="FILE.csv or FILE.parquet.")],
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the reviews of alerts to a file, as labels: alert, rider, signals, verdict, by, at, position.

    One row a review, by position. An alert that was reviewed again has several; is_latest is 1 for the one that holds.

    Works with or without a running `serve`.
    """
    from infrastructure.backends import EVENT_STORE_SETTINGS, open_backends
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.embedded.stack import servers_for
    from infrastructure.operations.fraud_labels import write_labels
    from infrastructure.settings.settings import Settings

    if out.suffix not in {".csv", ".parquet"}:
        raise typer.BadParameter(f"--out writes CSV or Parquet, by the name: {out.name}.csv?")
    with (
        expected_as_user_error(),
        servers_for(Settings.load({"data_dir": data_dir}), EVENT_STORE_SETTINGS) as settings,
        open_backends(settings) as backends,
    ):
        count = write_labels(backends.engine, out)
    if as_json:
        echo_json({"file": str(out), "labels": count})
    else:
        echo(f"{count:,} labels written to {out}")
