"""``process``: runs one of the programs that ``serve`` supervises. Hidden, because only ``serve`` starts it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Annotated

import typer

from infrastructure.cli.serve import parse_only


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(hidden=True)(process)


def process(
    name: Annotated[str, typer.Argument(help="api, tailer, projections, city, payments or monitor")],
    of: Annotated[
        str | None,
        typer.Option(help="For the monitor: the programs to report on. For projections: the projections to run."),
    ] = None,
) -> None:
    """Run one program in this process. Its settings are in the environment; the servers are running already."""
    from infrastructure.observability.logging import configure
    from infrastructure.observability.metrics_directory import share_metrics
    from infrastructure.settings.settings import Settings
    from infrastructure.supervision.readiness import MONITOR

    (program,) = (MONITOR,) if name == MONITOR else parse_only(name)
    parts = _parts(program, of)
    # The settings file is not read: serve passes a complete environment, and a missing variable means "not set".
    settings = Settings.load(toml=None)
    if settings.metrics_dir is not None:
        share_metrics(settings.metrics_dir)
    configure(settings.log_level, settings.log_format, program)
    module = importlib.import_module(f"infrastructure.processes.{program}")
    module.main(settings, parts) if parts else module.main(settings)


def _parts(program: str, of: str | None) -> Sequence[str]:
    """The parts that ``--of`` names; empty means all of them. Raises BadParameter."""
    from infrastructure.supervision.readiness import MONITOR, PROJECTIONS
    from projections.catalogue import PROJECTIONS as KNOWN

    if program == MONITOR:
        return parse_only(of)
    if of is None:
        return ()
    names = of.split(",")
    if program != PROJECTIONS or not set(names) <= set(KNOWN):
        raise typer.BadParameter(f"--of {of}: {program} was named; --of takes projections ({', '.join(KNOWN)})")
    return names
