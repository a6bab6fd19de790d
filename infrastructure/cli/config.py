"""``config show``: prints the settings in force."""

from __future__ import annotations

import typer

from infrastructure.cli.options import DataDirOption, JsonOption
from infrastructure.cli.output import echo, echo_json

MAX_WIDTH = 24


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True)
    group.command("show")(show)
    app.add_typer(group, name="config", help="Show the settings.")


def show(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Show every setting with its value and its purpose; passwords and tokens are hidden.

    Where a URL is not set, serve starts an embedded server.
    """
    from infrastructure.settings.settings import Settings

    values = Settings.load({"data_dir": data_dir}).public()
    described = Settings.descriptions()
    if as_json:
        report = {name: {"value": value, "description": described[name]} for name, value in values.items()}
        echo_json(report)
        return
    shown = {name: "(not set)" if value is None else str(value) or "(empty)" for name, value in values.items()}
    # A long value moves only its own description to the right.
    names, width = max(map(len, shown)), min(MAX_WIDTH, max(map(len, shown.values())))
    for name, value in shown.items():
        echo(f"{name:<{names}}  {value:<{width}}  {described[name]}")
