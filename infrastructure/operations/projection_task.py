"""Runs one requested task on a projection, and reports its progress to Postgres until it ends."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from infrastructure.backends import projection_named
from infrastructure.errors import UserError
from infrastructure.operations.rebuild import rebuilding
from infrastructure.operations.rebuild_report import task_result
from infrastructure.postgres.projection_tasks import ProjectionTask, ProjectionTasks, TaskProgress, TaskState
from infrastructure.settings.settings import Settings
from projections.core.ports import PortUnavailable, SinkRejected
from projections.rebuild.generations import NotSwitched
from projections.rebuild.rebuild import Rebuild
from projections.rebuild.rebuild_outcome import DigestMismatch, NoGenerationToRollBackTo

log = logging.getLogger("ridelog.projection_task")

REPORT_INTERVAL_S: Final = 1.0
MAX_NOTES: Final = 20
"""Lines of a task that are kept, the newest: a server that is away for hours gives one every few seconds."""
EXPECTED = (UserError, NotSwitched, NoGenerationToRollBackTo, DigestMismatch)
"""Ends that say themselves what to do. Any other one is logged with its traceback."""


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
    """Stores the progress once a second, from a thread: a comparison or a wait calls nothing for minutes."""

    def __init__(self, tasks: ProjectionTasks, task: int, instance: str) -> None:
        self._tasks = tasks
        self._task = task
        self._instance = instance
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
            self._tasks.report(self._task, self._instance, self.progress())
        except (PortUnavailable, SinkRejected) as error:
            log.warning("the progress cannot be stored now: %s; trying again", error)


def run_task(settings: Settings, tasks: ProjectionTasks, task: ProjectionTask, instance: str) -> TaskState:
    """Do what the task asks, and record how it ended. Raises PortUnavailable if that cannot be recorded."""
    with TaskReporter(tasks, task.task, instance) as reporter:
        try:
            state, result = TaskState.DONE, _done(settings, task, reporter)
        except EXPECTED as error:
            state, result = TaskState.FAILED, {"detail": str(error)}
        except Exception as error:
            log.exception("%s of %s failed", task.kind, task.projection)
            detail = f"{type(error).__name__}: {error}; the log of the task has more; request it again to resume"
            state, result = TaskState.FAILED, {"detail": detail}
    tasks.end(task.task, state, result)
    log.info("%s of %s: %s; %s", task.kind, task.projection, state, result["detail"])
    return state


def _done(settings: Settings, task: ProjectionTask, reporter: TaskReporter) -> dict[str, Any]:
    options = task.options
    with rebuilding(
        settings,
        projection_named(task.projection),
        workers=options.get("workers", 1),
        on_progress=reporter.on_progress,
        on_note=reporter.on_note,
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
            dropped = rebuild.drop(options["generation"])
            detail = f"generation {dropped.number} of {dropped.projection} is dropped"
            return {"verdict": "dropped", "new_generation": dropped.number, "detail": detail}
