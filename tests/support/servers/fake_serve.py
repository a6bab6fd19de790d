"""``serve`` with stand-ins for ridelog's own programs, run by ``-m``: settings come from the environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from infrastructure.embedded.data_dir import RunInfo
from infrastructure.embedded.service import Service, ServiceCommand
from infrastructure.errors import UserError
from infrastructure.settings.settings import Settings
from infrastructure.supervision.serve import ServeParts, serve

STANDIN = str(Path(__file__).with_name("fake_server.py"))


def commands(ready: Settings) -> list[ServiceCommand]:
    """An API that answers and two programs that only live."""
    env = dict(os.environ)
    api = ServiceCommand("api", [sys.executable, STANDIN, "api", str(ready.port)], env)
    return [api, *(ServiceCommand(name, [sys.executable, STANDIN, name], env) for name in ("tailer", "projections"))]


def topics(ready: Settings) -> None:
    """Leave a mark each time topics would be made."""
    with (ready.data_dir / "topics-made").open("a", encoding="ascii") as marks:
        marks.write("x")


def announce(_info: RunInfo, _services: Sequence[Service], _missing: str) -> None:
    """Tell the test."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        serve(Settings.load(toml=None), ServeParts(commands, topics, announce))
    except UserError as error:
        sys.exit(f"error: {error}")
