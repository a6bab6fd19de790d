"""Programs as processes of their own beside those of ``serve``, started as it starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from infrastructure.cdc.relay_checkpoint import RelayCheckpointStore
from infrastructure.observability.stage_reports import STANDBY, instance_of, read_stages
from infrastructure.settings.settings import Settings
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually


class ProgramProcess:
    """One ``program`` (tailer, projections, …); ``log`` is what it writes."""

    def __init__(self, settings: Settings, program: str, log: Path) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "app.py", "process", program],
                cwd=ROOT,
                env={**env, **settings.environment()},
                stdout=out,
                stderr=out,
            )

    def send(self, signal: int) -> None:
        self.process.send_signal(signal)

    def wait_for(self, engine: Engine, stage: str) -> None:
        """Until it reports itself as ``stage``."""
        mine = instance_of(self.process.pid)

        def reported() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return any(r.stage == stage and r.instance == mine and r.connected for r in read_stages(engine))

        eventually(reported, within_s=60, what=f"{stage} of {mine}; see {self.log}")


@contextmanager
def two_tailers(settings: Settings, engine: Engine, folder: Path) -> Iterator[tuple[ProgramProcess, ProgramProcess]]:
    """One that runs and one that waits; both killed at the end."""
    started: list[ProgramProcess] = []
    try:
        for stage in ("tailer", STANDBY):
            started.append(ProgramProcess(settings, "tailer", folder / f"{stage}.log"))
            started[-1].wait_for(engine, stage)
        yield started[0], started[1]
    finally:
        for one in started:
            one.process.kill()
            one.process.wait(scaled_s(20))


def wait_marked(settings: Settings, engine: Engine, position: int, within_s: float = 60.0) -> None:
    """Until all up to ``position`` is acknowledged by Kafka, as the mark in Postgres says."""

    def reached() -> bool:
        mark = RelayCheckpointStore(engine, settings.slot_name).read()
        return mark is not None and mark.position >= position

    eventually(reached, within_s=within_s, what=f"position {position} is published")
