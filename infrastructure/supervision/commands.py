"""The command lines of ridelog's own programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from infrastructure.settings import Settings
from infrastructure.supervision.readiness import API, MONITOR
from infrastructure.supervision.service import Command

APP = Path(__file__).resolve().parents[2] / "app.py"


def commands_for(settings: Settings, names: Sequence[str]) -> list[Command]:
    """How to start each named program with these settings, whatever ridelog's own environment says.

    There is always one that serves ``/metrics`` and ``/health/…`` on the HTTP port: the API, or else a monitor.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
    env |= settings.environment()
    commands = [Command(name, [sys.executable, str(APP), "process", name], env) for name in names]
    if API not in names:
        # Without it nobody here would show metrics and health of those that run.
        argv = [sys.executable, str(APP), "process", MONITOR, "--of", ",".join(names)]
        commands.append(Command(MONITOR, argv, env))
    return commands
