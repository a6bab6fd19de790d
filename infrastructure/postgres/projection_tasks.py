"""The table of tasks on projections that were requested over HTTP, and its queries.

A rebuild takes minutes to hours, so the API only records the request. A `serve` that runs projections claims it and
starts a process for it. Every API process and ``status`` read the progress here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Connection, Engine, Identity, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError

from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.schema import MILLISECONDS, metadata

projection_tasks = Table(
    "projection_tasks",
    metadata,
    Column("task", BigInteger, Identity(always=True), primary_key=True),
    Column("projection", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("options", JSONB, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_at", MILLISECONDS, nullable=False, server_default=text("clock_timestamp()")),
    Column("started_at", MILLISECONDS),
    Column("reported_at", MILLISECONDS),
    Column("ended_at", MILLISECONDS),
    # The process that runs it, as in ``stages``.
    Column("instance", Text),
    Column("cancel", Boolean, nullable=False, server_default=text("false")),
    Column("progress", JSONB),
    Column("result", JSONB),
    # At most one open task of a projection. The lock of the rebuild decides between this and a command line.
    Index("uq_projection_tasks_open", "projection", unique=True, postgresql_where=text("ended_at IS NULL")),
)

TaskKind = Literal["rebuild", "switch", "roll-back", "drop"]

MAX_KEPT_TASKS: Final = 200
"""Ended tasks that stay on record, the newest (invariant 15)."""


class TaskState(StrEnum):
    """How far a task is; the values are stored and answered."""

    REQUESTED = "requested"
    """No `serve` has started it yet."""
    RUNNING = "running"
    DONE = "done"
    """It did what was asked; ``result`` has the verdict."""
    FAILED = "failed"
    """It ended without that; ``result`` says why and what to do."""
    CANCELLED = "cancelled"


class TaskProgress(msgspec.Struct, kw_only=True):
    """Progress of a task. ``step``: what it does now, for people. Events are those of the fill; rate in events/s."""

    step: str = ""
    events_done: int = 0
    events_total: int = 0
    events_per_s: float = 0.0
    seconds_left: float | None = None
    notes: list[str] = []


class ProjectionTask(NamedTuple):
    """One task. Times in epoch milliseconds; ``silent_s``: seconds since its process reported last."""

    task: int
    projection: str
    kind: TaskKind
    options: dict[str, Any]
    state: TaskState
    requested_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    silent_s: float | None
    instance: str | None
    cancel: bool
    progress: TaskProgress
    result: dict[str, Any] | None

    @property
    def is_open(self) -> bool:
        return self.ended_at_ms is None


class TaskIsOpen(Exception):
    """The projection has a task that is requested or runs."""


_MS = "(extract(epoch FROM {0}) * 1000)::bigint"
_COLUMNS = ", ".join(
    (
        "task, projection, kind, options, state",
        *(_MS.format(name) for name in ("requested_at", "started_at", "ended_at")),
        "extract(epoch FROM clock_timestamp() - reported_at)::float8",
        "instance, cancel, progress, result",
    )
)
_REQUEST = text(
    "INSERT INTO projection_tasks (projection, kind, options, state)"  # noqa: S608
    f" VALUES (:projection, :kind, CAST(:options AS jsonb), 'requested') RETURNING {_COLUMNS}"
)
_PRUNE = text(
    "DELETE FROM projection_tasks WHERE ended_at IS NOT NULL AND task <="
    " (SELECT task FROM projection_tasks ORDER BY task DESC OFFSET :kept LIMIT 1)"
)
_CLAIM = text(
    "UPDATE projection_tasks SET state = 'running', started_at = clock_timestamp(), reported_at = clock_timestamp(),"  # noqa: S608
    " instance = :instance WHERE task = (SELECT task FROM projection_tasks WHERE state = 'requested' AND NOT cancel"
    f" ORDER BY task LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING {_COLUMNS}"
)
_REPORT = text(
    "UPDATE projection_tasks SET reported_at = clock_timestamp(), instance = :instance,"
    " progress = CAST(:progress AS jsonb) WHERE task = :task AND ended_at IS NULL"
)
_END = text(
    "UPDATE projection_tasks SET state = :state, ended_at = clock_timestamp(), result = CAST(:result AS jsonb)"
    " WHERE task = :task AND ended_at IS NULL"
)
_CANCEL = text("UPDATE projection_tasks SET cancel = true WHERE task = :task AND ended_at IS NULL")
_OPEN = text(f"SELECT {_COLUMNS} FROM projection_tasks WHERE ended_at IS NULL ORDER BY task")  # noqa: S608
_ONE = text(f"SELECT {_COLUMNS} FROM projection_tasks WHERE task = :task")  # noqa: S608
_LATEST = text(
    f"SELECT DISTINCT ON (projection) {_COLUMNS} FROM projection_tasks ORDER BY projection, task DESC"  # noqa: S608
)


class ProjectionTasks:
    """Tasks by their number. Blocks: call it in a thread. Every method raises PortUnavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def request(self, projection: str, kind: TaskKind, options: Mapping[str, Any]) -> ProjectionTask:
        """Record a request. Raises TaskIsOpen if the projection has an open one."""
        values = {"projection": projection, "kind": kind, "options": msgspec.json.encode(options).decode()}
        with unavailable_as_port_error():
            try:
                with self._engine.begin() as connection:
                    connection.execute(_PRUNE, {"kept": MAX_KEPT_TASKS})
                    return _task(connection.execute(_REQUEST, values).one())
            except IntegrityError as error:
                raise TaskIsOpen(projection) from error

    def claim(self, instance: str) -> ProjectionTask | None:
        """Take the oldest requested task for the process ``instance``; None if there is none."""
        with unavailable_as_port_error(), self._engine.begin() as connection:
            row = connection.execute(_CLAIM, {"instance": instance}).one_or_none()
            return None if row is None else _task(row)

    def report(self, task: int, instance: str, progress: TaskProgress) -> None:
        """Store the progress, and that ``instance`` runs the task."""
        values = {"task": task, "instance": instance, "progress": msgspec.json.encode(progress).decode()}
        with unavailable_as_port_error(), self._engine.begin() as connection:
            connection.execute(_REPORT, values)

    def end(self, task: int, state: TaskState, result: Mapping[str, Any]) -> bool:
        """Close the task, unless it is closed. Returns whether this call has closed it."""
        with unavailable_as_port_error(), self._engine.begin() as connection:
            return _end(connection, task, state, result)

    def cancel(self, task: int) -> None:
        """Ask for the end of an open task; a requested one ends at once."""
        with unavailable_as_port_error(), self._engine.begin() as connection:
            row = connection.execute(_ONE, {"task": task}).one_or_none()
            if row is not None and _task(row).state is TaskState.REQUESTED:
                _end(connection, task, TaskState.CANCELLED, {"detail": "cancelled before it started"})
            connection.execute(_CANCEL, {"task": task})

    def open(self) -> list[ProjectionTask]:
        """Tasks that are requested or run, the oldest first."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return [_task(row) for row in connection.execute(_OPEN)]

    def one(self, task: int) -> ProjectionTask | None:
        """The task with this number; None if there is none, or none any more."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            row = connection.execute(_ONE, {"task": task}).one_or_none()
            return None if row is None else _task(row)

    def latest(self) -> dict[str, ProjectionTask]:
        """The newest task of each projection."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return {one.projection: one for one in map(_task, connection.execute(_LATEST))}


def _end(connection: Connection, task: int, state: TaskState, result: Mapping[str, Any]) -> bool:
    values = {"task": task, "state": state.value, "result": msgspec.json.encode(result).decode()}
    return connection.execute(_END, values).rowcount == 1


def _task(row: Sequence[Any]) -> ProjectionTask:
    named = dict(zip(ProjectionTask._fields, row, strict=True))
    stored = named["progress"]
    progress = TaskProgress() if stored is None else msgspec.convert(stored, TaskProgress)
    return ProjectionTask(**{**named, "state": TaskState(named["state"]), "progress": progress})
