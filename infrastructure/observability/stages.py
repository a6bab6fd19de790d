"""What each stage of the pipeline says of itself, in Postgres, where every other process can read it."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

import msgspec
from sqlalchemy import Engine, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from infrastructure.embedded.identity import start_mark
from infrastructure.event_store.tables import stages

EVERY_S = 1.0
SILENT_AFTER_S = 10.0
"""A stage that has said nothing for so long is taken for dead."""

PLACED = "placed"
"""In ``detail`` of a stage that was started anew and has found out again where in the log it stands."""

STANDBY = "tailer-standby"
"""Stage of a tailer that waits for the one that runs to end."""


class Progress(msgspec.Struct, kw_only=True):
    """One stage's report. ``position``: highest passed; ``lag_events``: behind the stage before it, as it knows.

    ``delay_s``: since when the oldest event waits that it has not passed, seconds. ``newest_ms``: time of the newest
    event passed, epoch milliseconds: event time for a projection, commit time for the tailer. ``state``: running, or
    in words why not.
    """

    state: str = "running"
    position: int = 0
    lag_events: int = 0
    newest_ms: int = 0
    delay_s: float = 0.0
    detail: dict[str, Any] = {}


class StageReport(msgspec.Struct):
    """A report as read back; ``age_s`` is by the database's clock.

    ``alive``: False if its process is known to have ended; of one on another machine only its age tells.
    """

    stage: str
    instance: str
    age_s: float
    progress: Progress
    alive: bool = True

    @property
    def connected(self) -> bool:
        return self.alive and self.age_s <= SILENT_AFTER_S and self.progress.state == "running"


class StageReporter:
    """Writes at most one report a second, and one at once when the state changes."""

    def __init__(self, engine: Engine, stage: str) -> None:
        self._engine = engine
        self.stage = stage
        self.last = Progress()  # as reported last
        self._instance = instance_of(os.getpid())
        self._last_at = 0.0
        self._last_state = ""
        self._forget_dead()

    def due(self) -> bool:
        return time.monotonic() - self._last_at >= EVERY_S

    def report(self, progress: Progress) -> None:
        if not self.due() and progress.state == self._last_state:
            return
        self._last_at, self._last_state = time.monotonic(), progress.state
        self.last = progress
        values = {"reported_at": func.clock_timestamp(), "progress": msgspec.to_builtins(progress)}
        with self._engine.begin() as connection:
            connection.execute(
                insert(stages)
                .values(stage=self.stage, instance=self._instance, **values)
                .on_conflict_do_update(index_elements=["stage", "instance"], set_=values)
            )

    def retire(self) -> None:
        """Take the report back: this process is not the stage, or not any more."""
        self._last_at, self._last_state = 0.0, ""
        with self._engine.begin() as connection:
            connection.execute(delete(stages).where(stages.c.stage == self.stage, stages.c.instance == self._instance))

    def _forget_dead(self) -> None:
        """Reports of processes that are gone: they would make a stage look twice as large as it is, and alive."""
        silent = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, SILENT_AFTER_S)
        mine = stages.c.stage == self.stage
        with self._engine.begin() as connection:
            connection.execute(delete(stages).where(mine, stages.c.reported_at < silent))
            found = connection.execute(select(stages.c.instance).where(mine)).scalars()
            if dead := [instance for instance in found if not lives(instance)]:
                connection.execute(delete(stages).where(mine, stages.c.instance.in_(dead)))


def forget_host(engine: Engine) -> None:
    """Forget what processes of this machine have reported: those that live report again within a second.

    Called when a `serve` starts: the last words of one that was killed a moment ago must not pass for a stage that is
    connected, or the node would be ready before anything runs.
    """
    with engine.begin() as connection:
        connection.execute(delete(stages).where(stages.c.instance.startswith(_here(), autoescape=True)))


def instance_of(pid: int) -> str:
    """Host, pid, whose pids they are, and a mark that no later process with this pid has."""
    return f"{_here()}{pid}:{_pid_namespace()}:{start_mark(pid) or ''}"


def lives(instance: str) -> bool:
    """False if the process that calls itself so has ended; True also where that cannot be seen from here."""
    _, pid, namespace, mark = [*instance.split(":", 3), "", "", ""][:4]
    if not instance.startswith(_here()) or namespace != _pid_namespace() or not mark:
        return True
    return start_mark(int(pid)) == mark


def _here() -> str:
    return f"{socket.gethostname()}:"


def _pid_namespace() -> str:
    """Containers may share a host name, and then a pid of one means nothing in the other."""
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return "0"


def read_stages(engine: Engine) -> list[StageReport]:
    """All reports, the newest of each stage first."""
    age = func.extract("epoch", func.clock_timestamp() - stages.c.reported_at)
    query = select(stages.c.stage, stages.c.instance, age, stages.c.progress).order_by(
        stages.c.stage, stages.c.reported_at.desc()
    )
    with engine.connect() as connection:
        return [
            StageReport(row[0], row[1], float(row[2]), msgspec.convert(row[3], Progress), lives(row[1]))
            for row in connection.execute(query)
        ]


def newest(reports: list[StageReport]) -> dict[str, StageReport]:
    """The latest report of each stage, of a process that lives if there is one."""
    latest: dict[str, StageReport] = {}
    for report in sorted(reports, key=lambda report: not report.alive):
        latest.setdefault(report.stage, report)
    return latest
