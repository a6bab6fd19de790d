"""The command lines of ridelog's own programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from infrastructure.settings import Settings
from infrastructure.supervision.service import Command

APP = Path(__file__).resolve().parents[2] / "app.py"


def commands_for(settings: Settings, names: Sequence[str]) -> list[Command]:
    """How to start each named program with these settings, whatever ridelog's own environment says."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
    env |= settings.environment()
    return [Command(name, [sys.executable, str(APP), "process", name], env) for name in names]
