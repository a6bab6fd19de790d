"""The command line: one module per command, each with a function ``register(app)``."""

from __future__ import annotations

import importlib
import sys

import typer

from infrastructure.cli.output import VisibleGroup, echo
from infrastructure.errors import UserError
from infrastructure.timestamps import use_packaged_time_zones

COMMANDS = (
    "serve",
    "import_pings",
    "import_deliveries",
    "simulate",
    "demo",
    "status",
    "rebuild",
    "parked",
    "verify_parity",
    "statement",
    "payments",
    "export_log",
    "generations",
    "restored",
    "replay",
    "feature_history",
    "training_set",
    "train_eta",
    "eval_eta",
    "models",
    "fraud_labels",
    "schemas",
    "migrate",
    "config",
    "flink",
    "process",
)

HELP = """
Ridelog: the event log behind a delivery platform's ETA.

1. [bold]python app.py serve[/bold] starts everything on this machine;

2. in another terminal, [bold]simulate[/bold] or [bold]import-pings FILE[/bold] sends it pings;

3. [bold]status[/bold] shows the position of each stage, and what to do if one is behind.

Settings: flag > RIDELOG_<NAME> in the environment > ridelog.toml > default; see [bold]config show[/bold].
"""


def build() -> typer.Typer:
    """Build the application with all commands."""
    app = typer.Typer(
        name="ridelog",
        cls=VisibleGroup,
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for command in COMMANDS:
        importlib.import_module(f"{__name__}.{command}").register(app)
    return app


def main() -> None:
    """Run the command line. The exit code is 0, 1 for an error reported in one line, or 2 for wrong usage."""
    from infrastructure.cli.error_handling import expected_as_user_error

    use_packaged_time_zones()
    try:
        with expected_as_user_error():
            build()()
    except UserError as error:
        # A library's message may contain line breaks; the error must stay one line.
        echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(1)
