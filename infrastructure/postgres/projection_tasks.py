"""The table of tasks on projections that were requested over HTTP, and its queries.

A rebuild takes minutes to hours, so the API only records the request. A `serve` that runs projections claims it and
starts a process for it. Every API process and ``status`` read the progress here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Connection, Engine, Identity, Index, Table, Text, TextClause, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError

from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.schema import MILLISECONDS, metadata
from projections.core.ports import SinkRejected
from projections.core.projection import Projection
from projections.digest.digest import fold_digest

projection_tasks = Table(
    "projection_tasks",
    metadata,
    Column("task", BigInteger, Identity(always=True), primary_key=True),
    Column("projection", Text, nullable=False),
    # Of the code that recorded the request. A node with another fold would drop what it does not know.
    Column("fold_digest", Text, nullable=False),
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

CANCELLABLE_KINDS: Final[frozenset[TaskKind]] = frozenset({"rebuild"})
"""Kinds whose process may be stopped. In the middle of the others readers may have moved, or content be deleted."""
MAX_KEPT_TASKS: Final = 200
"""Ended tasks that stay on record, the newest (invariant 15)."""
UNSTORABLE: Final = "it ended, and Postgres rejected the text of its result: see the log of the task"


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
    fold_digest: str
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
        "task, projection, fold_digest, kind, options, state",
        *(_MS.format(name) for name in ("requested_at", "started_at", "ended_at")),
        "extract(epoch FROM clock_timestamp() - reported_at)::float8",
        "instance, cancel, progress, result",
    )
)
_REQUEST = text(
    "INSERT INTO projection_tasks (projection, fold_digest, kind, options, state)"  # noqa: S608
    f" VALUES (:projection, :fold_digest, :kind, CAST(:options AS jsonb), 'requested') RETURNING {_COLUMNS}"
)
_PRUNE = text(
    "DELETE FROM projection_tasks WHERE ended_at IS NOT NULL AND task <="
    " (SELECT task FROM projection_tasks ORDER BY task DESC OFFSET :kept LIMIT 1)"
)
_CLAIM = text(
    "UPDATE projection_tasks SET state = 'running', started_at = clock_timestamp(), reported_at = clock_timestamp(),"  # noqa: S608
    " instance = :instance WHERE task = (SELECT task FROM projection_tasks WHERE ended_at IS NULL"
    " AND (state = 'requested' AND (projection, fold_digest) IN"
    " (SELECT * FROM unnest(CAST(:projections AS text[]), CAST(:folds AS text[])))"
    " OR state = 'running' AND instance = :instance)"
    f" ORDER BY state = 'running' DESC, task LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING {_COLUMNS}"
)
_TAKE = text(
    "UPDATE projection_tasks SET reported_at = clock_timestamp(), instance = :instance"  # noqa: S608
    f" WHERE task = :task AND state = 'running' RETURNING {_COLUMNS}"
)
_REPORT = text(
    "UPDATE projection_tasks SET reported_at = clock_timestamp(), progress = CAST(:progress AS jsonb)"
    " WHERE task = :task AND instance = :instance AND ended_at IS NULL"
)
_HOLD = text(
    "SELECT 1 FROM projection_tasks WHERE task = :task AND instance = :instance AND ended_at IS NULL FOR SHARE"
)
_END = text(
    "UPDATE projection_tasks SET state = :state, ended_at = clock_timestamp(), result = CAST(:result AS jsonb)"
    " WHERE task = :task AND ended_at IS NULL"
)
_CANCEL = text("UPDATE projection_tasks SET cancel = true WHERE task = :task AND ended_at IS NULL")
_SHORT_WAIT = text("SET LOCAL lock_timeout = '3s'")
"""A request to cancel must be answered before its client gives up."""
_LOCKED = text(f"SELECT {_COLUMNS} FROM projection_tasks WHERE task = :task FOR UPDATE")  # noqa: S608
_OPEN = text(f"SELECT {_COLUMNS} FROM projection_tasks WHERE ended_at IS NULL ORDER BY task")  # noqa: S608
_ONE = text(f"SELECT {_COLUMNS} FROM projection_tasks WHERE task = :task")  # noqa: S608
_LATEST = text(
    f"SELECT DISTINCT ON (projection) {_COLUMNS} FROM projection_tasks ORDER BY projection, task DESC"  # noqa: S608
)


class ProjectionTasks:
    """Tasks by their number. Blocks: call it in a thread. Every method raises PortUnavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def request(self, projection: Projection[Any], kind: TaskKind, options: Mapping[str, Any]) -> ProjectionTask:
        """Record a request, with the fold of this code. Raises TaskIsOpen if the projection has an open one."""
        values = {
            "projection": projection.name,
            "fold_digest": fold_digest(projection),
            "kind": kind,
            "options": _json(options),
        }
        with unavailable_as_port_error():
            try:
                with self._engine.begin() as connection:
                    connection.execute(_PRUNE, {"kept": MAX_KEPT_TASKS})
                    return _task(connection.execute(_REQUEST, values).one())
            except IntegrityError as error:
                raise TaskIsOpen(projection.name) from error

    def claim(self, instance: str, folds: Mapping[str, str]) -> ProjectionTask | None:
        """Take the oldest requested task for the process ``instance``; None if there is none.

        ``folds``: the fold digest of each projection in the code of that process. Only a request with the same one is
        taken. One that ``instance`` has taken already comes first: the answer to its claim may have been lost.
        """
        values = {"instance": instance, "projections": list(folds), "folds": list(folds.values())}
        return self._change(_CLAIM, values)

    def take(self, task: int, instance: str) -> ProjectionTask | None:
        """Hand a claimed task over to the process that does it; None if it is closed."""
        return self._change(_TAKE, {"task": task, "instance": instance})

    def report(self, task: int, instance: str, progress: TaskProgress) -> bool:
        """Store the progress. Returns whether the task is still open for ``instance``, which else must not go on."""
        values = {"task": task, "instance": instance, "progress": _json(msgspec.to_builtins(progress))}
        with unavailable_as_port_error(), self._engine.begin() as connection:
            return connection.execute(_REPORT, values).rowcount == 1

    def end(self, task: int, state: TaskState, result: Mapping[str, Any]) -> bool:
        """Close the task, unless it is closed. Returns whether this call has closed it."""
        try:
            return self._end(task, state, result)
        except SinkRejected:
            # A task whose result cannot be stored would stay open for ever.
            return self._end(task, state, {"detail": UNSTORABLE})

    def cancel(self, task: int) -> bool:
        """Ask for the end of an open task; a requested one ends at once.

        Returns False for one that is closed, and for one that runs and is none of CANCELLABLE_KINDS. Raises
        PortUnavailable while the task changes a generation, which may wait for a lock itself: ask again.
        """
        with unavailable_as_port_error(), self._engine.begin() as connection:
            connection.execute(_SHORT_WAIT)
            row = connection.execute(_LOCKED, {"task": task}).one_or_none()
            if row is None or not (found := _task(row)).is_open:
                return False
            if found.state is TaskState.REQUESTED:
                return _end(connection, task, TaskState.CANCELLED, {"detail": "cancelled before it started"})
            if found.kind not in CANCELLABLE_KINDS:
                return False
            return connection.execute(_CANCEL, {"task": task}).rowcount == 1

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

    def _change(self, statement: TextClause, values: Mapping[str, Any]) -> ProjectionTask | None:
        with unavailable_as_port_error(), self._engine.begin() as connection:
            row = connection.execute(statement, values).one_or_none()
            return None if row is None else _task(row)

    def _end(self, task: int, state: TaskState, result: Mapping[str, Any]) -> bool:
        with unavailable_as_port_error(), self._engine.begin() as connection:
            return _end(connection, task, state, result)


def hold_open(connection: Connection, task: int, instance: str) -> bool:
    """Whether the task is open for ``instance``. If so, no process closes it before the transaction ends."""
    return connection.execute(_HOLD, {"task": task, "instance": instance}).one_or_none() is not None


def _end(connection: Connection, task: int, state: TaskState, result: Mapping[str, Any]) -> bool:
    values = {"task": task, "state": state.value, "result": _json(result)}
    return connection.execute(_END, values).rowcount == 1


def _json(value: Any) -> str:
    return msgspec.json.encode(_storable(value)).decode()


def _storable(value: Any) -> Any:
    """The value with texts that can be stored: jsonb rejects NUL, and UTF-8 has no lone surrogates."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {name: _storable(each) for name, each in value.items()}
    return [_storable(each) for each in value] if isinstance(value, list) else value


def _task(row: Sequence[Any]) -> ProjectionTask:
    named = dict(zip(ProjectionTask._fields, row, strict=True))
    stored = named["progress"]
    progress = TaskProgress() if stored is None else msgspec.convert(stored, TaskProgress)
    return ProjectionTask(**{**named, "state": TaskState(named["state"]), "progress": progress})
