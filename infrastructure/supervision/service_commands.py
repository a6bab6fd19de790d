"""Builds the command lines of ridelog's own programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from infrastructure.embedded.service import ServiceCommand
from infrastructure.processes.worker_groups import served_projections, worker_groups
from infrastructure.settings.settings import Settings
from infrastructure.supervision.readiness import API, MONITOR, PROJECTION_TASK, PROJECTIONS

APP = Path(__file__).resolve().parents[2] / "app.py"
PROGRAM_PREFIX = (sys.executable, str(APP), "process")
"""What the command lines of all programs begin with; the program is next."""


def commands_for(settings: Settings, names: Sequence[str]) -> list[ServiceCommand]:
    """The commands that start each named program with these settings, not with those of this process's environment.

    One of them always serves ``/metrics`` and ``/health/…`` on the HTTP port: the API, or else a monitor. The
    projections are several processes, each named after the program.
    """
    env = _environment(settings)

    def command(name: str, program: str, of: Sequence[str] = ()) -> ServiceCommand:
        argv = [*PROGRAM_PREFIX, program]
        return ServiceCommand(name, [*argv, "--of", ",".join(of)] if of else argv, env)

    commands: list[ServiceCommand] = []
    groups = worker_groups(served_projections(settings))
    for name in names:
        if name == PROJECTIONS:
            commands += [command(f"{name}-{part}", name, of) for part, of in groups.items()]
        else:
            commands.append(command(name, name))
    if API not in names:
        # Without it nothing on this node would serve the metrics and the health of its programs.
        commands.append(command(MONITOR, MONITOR, names))
    return commands


def task_command(settings: Settings, task: int) -> ServiceCommand:
    """The command that runs one requested task on a projection."""
    argv = [sys.executable, str(APP), "process", PROJECTION_TASK, "--of", str(task)]
    return ServiceCommand(PROJECTION_TASK.replace("_", "-"), argv, _environment(settings))


def _environment(settings: Settings) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
    return env | settings.environment()
