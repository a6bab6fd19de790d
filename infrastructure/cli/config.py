"""``config show``: the settings in force."""

from __future__ import annotations

import json

import typer

from infrastructure.cli.options import DataDirOption, JsonOption


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True)
    group.command("show")(show)
    app.add_typer(group, name="config", help="Look at the settings.")


def show(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Show every setting with the value in force; passwords and tokens are hidden.

    A URL that is not set means that serve starts an embedded server for it.
    """
    from infrastructure.settings import Settings

    values = Settings.load({"data_dir": data_dir}).public()
    if as_json:
        typer.echo(json.dumps(values, indent=2))
        return
    width = max(map(len, values))
    for name, value in values.items():
        typer.echo(f"{name:<{width}}  {'(not set)' if value is None else value}")
