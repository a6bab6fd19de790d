"""``process``: one of the programs that ``serve`` supervises; hidden, for it is started by ``serve``."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from infrastructure.cli.serve import parse_only


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(hidden=True)(process)


def process(
    name: Annotated[str, typer.Argument(help="api, tailer, projections or monitor")],
    of: Annotated[str | None, typer.Option(help="What the monitor shows: tailer, projections or both.")] = None,
) -> None:
    """Run one program in this process. Its settings are in the environment, the servers run already."""
    from infrastructure.observability.logging import configure
    from infrastructure.observability.share import share_metrics
    from infrastructure.settings import Settings
    from infrastructure.supervision.readiness import MONITOR

    watched = parse_only(of) if name == MONITOR else None
    (program,) = (MONITOR,) if watched else parse_only(name)
    # Without the file: the environment that serve gives is complete, and a value it leaves out is meant so.
    settings = Settings.load(toml=None)
    if settings.metrics_dir is not None:
        share_metrics(settings.metrics_dir)
    configure(settings.log_level, settings.log_format, program)
    module = importlib.import_module(f"infrastructure.processes.{program}")
    module.main(settings, watched) if watched else module.main(settings)
