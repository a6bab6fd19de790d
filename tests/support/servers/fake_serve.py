"""``serve`` with fakes of ridelog's own programs. Run by ``-m``, with settings from the environment."""

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

FAKE_PROGRAM = str(Path(__file__).with_name("fake_server.py"))


def commands(ready: Settings) -> list[ServiceCommand]:
    """A fake API that answers, and two fake programs that only run."""
    env = dict(os.environ)
    api = ServiceCommand("api", [sys.executable, FAKE_PROGRAM, "api", str(ready.port)], env)
    return [
        api,
        *(ServiceCommand(name, [sys.executable, FAKE_PROGRAM, name], env) for name in ("tailer", "projections")),
    ]


def topics(ready: Settings) -> None:
    """Write one character to a file each time topics would be created."""
    with (ready.data_dir / "topics-made").open("a", encoding="ascii") as calls:
        calls.write("x")


def announce(_info: RunInfo, _services: Sequence[Service], _missing: str) -> None:
    """Report readiness to the test."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        serve(Settings.load(toml=None), ServeParts(commands, topics, announce))
    except UserError as error:
        sys.exit(f"error: {error}")
