"""``process``: runs one of the programs that ``serve`` supervises. Hidden, because only ``serve`` starts it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from infrastructure.cli.serve import parse_only


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(hidden=True)(process)


def process(
    name: Annotated[str, typer.Argument(help="api, tailer, projections, city, payments, monitor or projection_task")],
    of: Annotated[
        str | None,
        typer.Option(
            help="For the monitor: the programs to report on. For projections: the projections to run. For "
            "projection_task: the number of the task."
        ),
    ] = None,
) -> None:
    """Run one program in this process. Its settings are in the environment; the servers are running already."""
    from infrastructure.observability.logging import configure
    from infrastructure.observability.metrics_directory import share_metrics
    from infrastructure.settings.settings import Settings
    from infrastructure.supervision.readiness import MONITOR, PROJECTION_TASK

    (program,) = (name,) if name in (MONITOR, PROJECTION_TASK) else parse_only(name)
    parts = _parts(program, of)
    # The settings file is not read: serve passes a complete environment, and a missing variable means "not set".
    settings = Settings.load(toml=None)
    if settings.metrics_dir is not None:
        share_metrics(settings.metrics_dir)
    configure(settings.log_level, settings.log_format, program)
    module = importlib.import_module(f"infrastructure.processes.{program}")
    module.main(settings, parts) if parts else module.main(settings)


def run_fork(arguments: Sequence[str]) -> NoReturn:
    """Run the program in a fork of ``serve``, with the ``arguments`` that this command would have."""
    name, *options = arguments
    process(name, options[1] if options else None)
    sys.exit(0)


def _parts(program: str, of: str | None) -> Sequence[str] | int:
    """The parts that ``--of`` names, or the number of a task; empty means all of them. Raises BadParameter."""
    from infrastructure.supervision.readiness import MONITOR, PROJECTION_TASK, PROJECTIONS
    from projections.catalogue import PROJECTIONS as KNOWN

    if program == MONITOR:
        return parse_only(of)
    if program == PROJECTION_TASK:
        if of is None or not of.isdecimal():
            raise typer.BadParameter(f"--of {of}: the number of a task is expected")
        return int(of)
    if of is None:
        return ()
    names = of.split(",")
    if program != PROJECTIONS or not set(names) <= set(KNOWN):
        raise typer.BadParameter(f"--of {of}: {program} was named; --of takes projections ({', '.join(KNOWN)})")
    return names
