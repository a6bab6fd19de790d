"""What each stage of the pipeline says of itself, in Postgres, where every other process can read it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, text

from infrastructure.embedded.process_identity import process_start_id

REPORT_INTERVAL_S = 1.0
SILENT_AFTER_S = 10.0
"""A stage that has said nothing for so long is taken for dead."""

STORED_REPORTS = 64
"""Reports of a process between two prunings; a pruning deletes as many."""

_NUMBER = "SELECT number FROM stage_reports WHERE stage = :stage AND instance = :instance ORDER BY number DESC LIMIT 1"
# A report is a new row, and the newest one counts. A row that is updated every second would be slower to find with
# each second that any transaction stays open. Of two reports at once, of one process, one is enough.
_REPORT = text(
    "WITH known AS (INSERT INTO stages (stage, instance) VALUES (:stage, :instance) ON CONFLICT DO NOTHING)"  # noqa: S608
    " INSERT INTO stage_reports (stage, instance, number, reported_at, progress)"
    f" VALUES (:stage, :instance, coalesce(({_NUMBER}), 0) + 1, clock_timestamp(), CAST(:progress AS jsonb))"
    " ON CONFLICT DO NOTHING RETURNING number"
)
_PRUNE = text(
    "DELETE FROM stage_reports WHERE stage = :stage AND instance = :instance AND number > :above AND number <= :upto"
)
_NEWEST = text(
    "SELECT s.stage, s.instance, extract(epoch FROM clock_timestamp() - r.reported_at) AS age_s, r.progress"
    " FROM stages s LEFT JOIN LATERAL (SELECT reported_at, progress FROM stage_reports r"
    "  WHERE r.stage = s.stage AND r.instance = s.instance ORDER BY r.number DESC LIMIT 1) r ON true"
)
_ALL = text("SELECT stage, instance FROM stages")
_GIVEN = "USING unnest(CAST(:stages AS text[]), CAST(:instances AS text[])) AS v(stage, instance)"
_FORGET_STAGES = text(f"DELETE FROM stages t {_GIVEN} WHERE t.stage = v.stage AND t.instance = v.instance")  # noqa: S608
_FORGET_REPORTS = text(f"DELETE FROM stage_reports t {_GIVEN} WHERE t.stage = v.stage AND t.instance = v.instance")  # noqa: S608

POSITIONED = "placed"
"""In ``detail`` of a stage that was started anew and has found out again where in the log it stands."""

STANDBY = "tailer-standby"
"""Stage of a tailer that waits for the one that runs to end."""


class StageProgress(msgspec.Struct, kw_only=True):
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
    progress: StageProgress
    alive: bool = True

    @property
    def connected(self) -> bool:
        return self.alive and self.age_s <= SILENT_AFTER_S and self.progress.state == "running"


class StageReporter:
    """Writes at most one report a second, and one at once when the state changes."""

    def __init__(self, engine: Engine, stage: str) -> None:
        self._engine = engine
        self.stage = stage
        self.last = StageProgress()  # as reported last
        self._instance = instance_of(os.getpid())
        self._last_at = 0.0
        self._last_state = ""
        self._forget_dead()

    def due(self) -> bool:
        return time.monotonic() - self._last_at >= REPORT_INTERVAL_S

    def report(self, progress: StageProgress) -> None:
        if not self.due() and progress.state == self._last_state:
            return
        self._last_at, self._last_state = time.monotonic(), progress.state
        self.last = progress
        values = {
            "stage": self.stage,
            "instance": self._instance,
            "progress": msgspec.json.encode(progress).decode(),
        }
        with self._engine.begin() as connection:
            number = connection.execute(_REPORT, values).scalar_one_or_none()
            if number is not None and number % STORED_REPORTS == 0:
                upto = number - STORED_REPORTS
                of = {"stage": self.stage, "instance": self._instance}
                connection.execute(_PRUNE, {**of, "above": upto - STORED_REPORTS, "upto": upto})

    def retire(self) -> None:
        """Take the report back: this process is not the stage, or not any more."""
        self._last_at, self._last_state = 0.0, ""
        with self._engine.begin() as connection:
            _forget(connection, [(self.stage, self._instance)])

    def _forget_dead(self) -> None:
        """Reports of processes that are gone: they would make a stage look twice as large as it is, and alive."""
        with self._engine.begin() as connection:
            mine = [row for row in connection.execute(_NEWEST) if row.stage == self.stage]
            dead = [row for row in mine if row.age_s is None or row.age_s > SILENT_AFTER_S or not lives(row.instance)]
            _forget(connection, [(row.stage, row.instance) for row in dead])


def _forget(connection: Connection, reports: Sequence[tuple[str, str]]) -> None:
    if not reports:
        return
    values = {"stages": [stage for stage, _ in reports], "instances": [instance for _, instance in reports]}
    # In this order, as reports are made: the two never wait for each other in a circle.
    connection.execute(_FORGET_STAGES, values)
    connection.execute(_FORGET_REPORTS, values)


def forget_host(engine: Engine) -> None:
    """Forget what processes of this machine have reported: those that live report again within a second.

    Called when a `serve` starts: the last words of one that was killed a moment ago must not pass for a stage that is
    connected, or the node would be ready before anything runs.
    """
    with engine.begin() as connection:
        _forget(connection, [(s, instance) for s, instance in connection.execute(_ALL) if instance.startswith(_here())])


def instance_of(pid: int) -> str:
    """Host, pid, whose pids they are, and a mark that no later process with this pid has."""
    return f"{_here()}{pid}:{_pid_namespace()}:{process_start_id(pid) or ''}"


def lives(instance: str) -> bool:
    """False if the process that calls itself so has ended; True also where that cannot be seen from here."""
    _, pid, namespace, mark = [*instance.split(":", 3), "", "", ""][:4]
    if not instance.startswith(_here()) or namespace != _pid_namespace() or not mark:
        return True
    return process_start_id(int(pid)) == mark


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
    with engine.connect() as connection:
        rows = [row for row in connection.execute(_NEWEST) if row.age_s is not None]
    rows.sort(key=lambda row: (row.stage, row.age_s))
    return [
        StageReport(
            row.stage, row.instance, float(row.age_s), msgspec.convert(row.progress, StageProgress), lives(row.instance)
        )
        for row in rows
    ]


def newest(reports: list[StageReport]) -> dict[str, StageReport]:
    """The latest report of each stage, of a process that lives if there is one."""
    latest: dict[str, StageReport] = {}
    for report in sorted(reports, key=lambda report: not report.alive):
        latest.setdefault(report.stage, report)
    return latest
