"""``config show``: the settings in force."""

from __future__ import annotations

import typer

from infrastructure.cli.options import DataDirOption, JsonOption
from infrastructure.cli.output import echo, echo_json

MAX_WIDTH = 24


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True)
    group.command("show")(show)
    app.add_typer(group, name="config", help="Look at the settings.")


def show(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Show every setting with the value in force and what it is for; passwords and tokens are hidden.

    A URL that is not set means that serve starts an embedded server for it.
    """
    from infrastructure.settings.settings import Settings

    values = Settings.load({"data_dir": data_dir}).public()
    described = Settings.descriptions()
    if as_json:
        report = {name: {"value": value, "description": described[name]} for name, value in values.items()}
        echo_json(report)
        return
    shown = {name: "(not set)" if value is None else str(value) or "(empty)" for name, value in values.items()}
    # A long value moves its own description to the right, not those of all the others.
    names, width = max(map(len, shown)), min(MAX_WIDTH, max(map(len, shown.values())))
    for name, value in shown.items():
        echo(f"{name:<{names}}  {value:<{width}}  {described[name]}")
