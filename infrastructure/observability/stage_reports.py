"""Progress reports of the pipeline's stages, in Postgres, where every other process can read them."""

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
"""A stage without a report for so long counts as dead."""

STORED_REPORTS = 64
"""A process prunes its reports after so many; one pruning deletes as many."""

_NUMBER = "SELECT number FROM stage_reports WHERE stage = :stage AND instance = :instance ORDER BY number DESC LIMIT 1"
# Each report is a new row, and the newest one counts. A row that is updated every second leaves dead versions while any
# transaction stays open, and finding it gets slower each second. Of two reports that a process writes at once, one is
# enough.
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
"""Key in the ``detail`` of a tailer that has found its position in the log since it started."""

FLINK_DETAIL = {"engine": "flink"}
"""In the ``detail`` of a worker on a Flink cluster, whose own metrics no node of ridelog exposes."""

STANDBY = "tailer-standby"
"""Stage of a tailer that waits until the active one ends."""


class StageProgress(msgspec.Struct, kw_only=True):
    """Report of one stage.

    ``position``: highest position passed. ``lag_events``: events behind the previous stage, by the stage's own count.
    ``delay_s``: seconds for which the oldest event that it has not passed has waited. ``newest_ms``: time of the newest
    event passed, epoch milliseconds: event time for a projection, commit time for the tailer. ``state``: ``running``,
    or the reason why it does not run.
    """

    state: str = "running"
    position: int = 0
    lag_events: int = 0
    newest_ms: int = 0
    delay_s: float = 0.0
    detail: dict[str, Any] = {}


class StageReport(msgspec.Struct):
    """A stored report; ``age_s`` is by the database's clock.

    ``alive``: False if its process is known to have ended. For a process on another machine only the age shows that.
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
    """Writes at most one report a second, except that a changed state is reported at once."""

    def __init__(self, engine: Engine, stage: str) -> None:
        self._engine = engine
        self.stage = stage
        self.last = StageProgress()  # as reported last
        self._instance = instance_of(os.getpid())
        self._last_at = 0.0
        self._last_state = ""
        self._forget_dead()

    def due(self, interval_s: float = REPORT_INTERVAL_S) -> bool:
        """Whether ``interval_s`` seconds have passed since the last report."""
        return time.monotonic() - self._last_at >= interval_s

    def report(self, progress: StageProgress) -> None:
        """Store ``progress`` if a report is due or the state has changed. Raises SQLAlchemyError."""
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
        """Delete the reports: this process is not the stage, or no longer."""
        self._last_at, self._last_state = 0.0, ""
        with self._engine.begin() as connection:
            _forget(connection, [(self.stage, self._instance)])

    def _forget_dead(self) -> None:
        """Delete reports of ended processes: with them a stage would look alive, and twice as large as it is."""
        with self._engine.begin() as connection:
            mine = [row for row in connection.execute(_NEWEST) if row.stage == self.stage]
            dead = [
                row for row in mine if row.age_s is None or row.age_s > SILENT_AFTER_S or not is_alive(row.instance)
            ]
            _forget(connection, [(row.stage, row.instance) for row in dead])


def _forget(connection: Connection, reports: Sequence[tuple[str, str]]) -> None:
    if not reports:
        return
    values = {"stages": [stage for stage, _ in reports], "instances": [instance for _, instance in reports]}
    # The same order as in _REPORT, so that the two statements cannot deadlock.
    connection.execute(_FORGET_STAGES, values)
    connection.execute(_FORGET_REPORTS, values)


def forget_host(engine: Engine) -> None:
    """Delete the reports of all processes of this machine; live ones report again within a second.

    Called when a `serve` starts. It deletes reports left by a killed `serve`, so that they are not shown as live and
    the node is not ready before anything runs.
    """
    with engine.begin() as connection:
        _forget(connection, [(s, instance) for s, instance in connection.execute(_ALL) if instance.startswith(_here())])


def instance_of(pid: int) -> str:
    """Host, pid, PID namespace, and the start id of the process, which no later process with this pid has."""
    return f"{_here()}{pid}:{_pid_namespace()}:{process_start_id(pid) or ''}"


def is_alive(instance: str) -> bool:
    """False if the process with this instance name has ended; True also if that cannot be seen from here."""
    if not is_seen_from_here(instance):
        return True
    _, pid, _, start_id = instance.split(":", 3)
    return process_start_id(int(pid)) == start_id


def is_seen_from_here(instance: str) -> bool:
    """Whether this process can see if that process runs: it must be of the same machine and PID namespace."""
    _, _, namespace, start_id = [*instance.split(":", 3), "", "", ""][:4]
    return instance.startswith(_here()) and namespace == _pid_namespace() and bool(start_id)


def _here() -> str:
    return f"{socket.gethostname()}:"


def _pid_namespace() -> str:
    """Id of the PID namespace. Containers may share a host name, but a pid of one has no meaning in the other."""
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return "0"


def read_stages(engine: Engine) -> list[StageReport]:
    """Latest report of each process, by stage and then by age, newest first. Raises SQLAlchemyError."""
    with engine.connect() as connection:
        rows = [row for row in connection.execute(_NEWEST) if row.age_s is not None]
    rows.sort(key=lambda row: (row.stage, row.age_s))
    return [
        StageReport(
            row.stage,
            row.instance,
            float(row.age_s),
            msgspec.convert(row.progress, StageProgress),
            is_alive(row.instance),
        )
        for row in rows
    ]


def newest(reports: list[StageReport]) -> dict[str, StageReport]:
    """The latest report of each stage, of a live process if there is one."""
    latest: dict[str, StageReport] = {}
    for report in sorted(reports, key=lambda report: not report.alive):
        latest.setdefault(report.stage, report)
    return latest
