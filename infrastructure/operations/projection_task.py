"""Runs one requested task on a projection, and reports its progress to Postgres until it ends."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import Connection

from infrastructure.backends import projection_named
from infrastructure.errors import UserError
from infrastructure.operations.rebuild import rebuilding
from infrastructure.operations.rebuild_report import task_result
from infrastructure.postgres.projection_tasks import ProjectionTask, ProjectionTasks, TaskProgress, TaskState, hold_open
from infrastructure.settings.settings import Settings
from projections.core.ports import PortUnavailable, SinkRejected
from projections.core.retry import RetryPolicy
from projections.rebuild.generations import NotSwitched
from projections.rebuild.rebuild import Rebuild
from projections.rebuild.rebuild_outcome import DigestMismatch, NoGenerationToRollBackTo

log = logging.getLogger("ridelog.projection_task")

REPORT_INTERVAL_S: Final = 1.0
MAX_NOTES: Final = 20
"""Lines of a task that are kept, the newest: a server that is unavailable for hours gives one every few seconds."""
EXPECTED = (UserError, NotSwitched, NoGenerationToRollBackTo, DigestMismatch)
"""Ends that say themselves what to do. Any other one is logged with its traceback."""
CLOSED_EXIT_CODE: Final = 4


def end_process() -> None:
    """End this process at once: its task was closed by another one, and may run again elsewhere."""
    log.error("the task was closed while it ran; this process ends")
    # The main thread may be in a comparison or a fill for minutes, and exceptions of a thread do not reach it.
    os._exit(CLOSED_EXIT_CODE)


class FillPace:
    """How fast a fill goes and how long it takes yet, from the events that this process has seen it fold."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, int] | None = None

    def measure(self, done: int, total: int) -> tuple[float, float | None]:
        """The events per second, and the seconds left; None while no rate is known."""
        now = self._clock()
        if self._first is None:
            # Not from 0: a resumed fill had these before, and the rate would promise an end that never comes.
            self._first = now, done
        began, before = self._first
        per_s = (done - before) / (now - began) if now > began else 0.0
        return per_s, (total - done) / per_s if per_s > 0 else None


class TaskReporter:
    """Stores the progress once a second, from a thread: a comparison or a wait calls nothing for minutes.

    ``on_closed`` is called if the task is not open for ``instance`` any more.
    """

    def __init__(self, tasks: ProjectionTasks, task: int, instance: str, on_closed: Callable[[], None]) -> None:
        self._tasks = tasks
        self._task = task
        self._instance = instance
        self._on_closed = on_closed
        self._pace = FillPace()
        self._step = "starting"
        self._notes: deque[str] = deque(maxlen=MAX_NOTES)
        self._events: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="task-report", daemon=True)

    def on_progress(self, done: int, total: int) -> None:
        """The fill has folded ``done`` of ``total`` events."""
        per_s, left_s = self._pace.measure(done, total)
        with self._lock:
            self._events = {
                "events_done": done,
                "events_total": total,
                "events_per_s": per_s,
                "seconds_left": left_s,
            }

    def on_note(self, line: str) -> None:
        """A line for people: what is done now, or what it waits for."""
        with self._lock:
            self._step = line
            self._notes.append(line)

    def progress(self) -> TaskProgress:
        """What is known now."""
        with self._lock:
            return TaskProgress(step=self._step, notes=list(self._notes), **self._events)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._report()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._report()
            self._stop.wait(REPORT_INTERVAL_S)

    def _report(self) -> None:
        try:
            is_open = self._tasks.report(self._task, self._instance, self.progress())
        except (PortUnavailable, SinkRejected) as error:
            log.warning("the progress cannot be stored now: %s; trying again", error)
            return
        if not is_open:
            self._on_closed()


def run_task(
    settings: Settings,
    tasks: ProjectionTasks,
    task: ProjectionTask,
    instance: str,
    on_closed: Callable[[], None] = end_process,
) -> TaskState:
    """Do what the task asks, and record how it ended. Raises PortUnavailable if that cannot be recorded for minutes."""
    with TaskReporter(tasks, task.task, instance, on_closed) as reporter:
        try:
            state, result = TaskState.DONE, _done(settings, task, instance, reporter)
        except EXPECTED as error:
            state, result = TaskState.FAILED, {"detail": str(error)}
        except Exception as error:
            log.exception("%s of %s failed", task.kind, task.projection)
            detail = f"{type(error).__name__}: {error}; the log of the task has more; request it again to resume"
            state, result = TaskState.FAILED, {"detail": detail}
    log.info("%s of %s: %s; %s", task.kind, task.projection, state, result["detail"])
    # The last that the process does: `serve` stops the process of a closed task.
    RetryPolicy(log.warning).call(lambda: tasks.end(task.task, state, result))
    return state


def _done(settings: Settings, task: ProjectionTask, instance: str, reporter: TaskReporter) -> dict[str, Any]:
    options = task.options

    def check_open(connection: Connection) -> None:
        if not hold_open(connection, task.task, instance):
            raise NotSwitched(f"task {task.task} was closed while it ran: it changes no generation any more")

    with rebuilding(
        settings,
        projection_named(task.projection),
        workers=options.get("workers", 1),
        on_progress=reporter.on_progress,
        on_note=reporter.on_note,
        check_writer=check_open,
    ) as rebuild:
        return _act(rebuild, task)


def _act(rebuild: Rebuild, task: ProjectionTask) -> dict[str, Any]:
    options = task.options
    match task.kind:
        case "rebuild":
            return task_result(rebuild.prepare(verify_only=options.get("verify_only", False)))
        case "switch":
            return task_result(rebuild.switch_to(options["generation"], options.get("digest")))
        case "roll-back":
            return task_result(rebuild.roll_back(options["generation"]))
        case "drop":
            number = options["generation"]
            rebuild.drop(number)
            detail = f"generation {number} of {task.projection} is dropped"
            return {"verdict": "dropped", "new_generation": number, "detail": detail}
