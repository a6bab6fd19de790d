"""Starts a process for each task on a projection that the API has recorded, one at a time on this node."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from infrastructure.embedded.service import Program, last_errors
from infrastructure.errors import UserError
from infrastructure.observability.abandoned_tasks import close_abandoned, close_task
from infrastructure.postgres.projection_tasks import ProjectionTask, ProjectionTasks, TaskState
from projections.catalogue import PROJECTIONS
from projections.core.ports import PortUnavailable, SinkRejected
from projections.core.projection import Projection
from projections.digest.digest import fold_digest
from projections.rebuild.generations import Generations

log = logging.getLogger(__name__)

TASK_POLL_INTERVAL_S: Final = 1.0
STOP_TIMEOUT_S: Final = 2.0
MAX_SAID_CHARS: Final = 1_000


@dataclass
class _RunningTask:
    """A task with its process. ``end_state``: how it is recorded once this node has found that it is over."""

    task: ProjectionTask
    program: Program
    end_state: TaskState | None = None
    said: str = ""


class TaskStarter:
    """Polls the table of tasks in a thread. The process of a task ends with this one.

    Not a service of the supervisor, which would restart it: a task that ends is over.
    """

    def __init__(
        self,
        tasks: ProjectionTasks,
        generations: Generations,
        program: Callable[[int], Program],
        instance: str,
        projections: Mapping[str, Projection[Any]] = PROJECTIONS,
    ) -> None:
        """``program`` makes the program of a task; ``instance`` names this process until that one takes the task.

        ``projections``: the code of this node. Requests for other folds are left to other nodes.
        """
        self._tasks = tasks
        self._generations = generations
        self._program = program
        self._instance = instance
        self._projections = projections
        self._running: _RunningTask | None = None
        self._last_error = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="task-starter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop the process of a task. The next `serve` closes the task, and another request resumes it."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_S)
        if self._running is not None:
            self._running.program.stop()

    def step(self) -> None:
        """Watch the task that runs, or start the next one. Raises PortUnavailable, SinkRejected."""
        if self._running is not None and not self._has_ended(self._running):
            return
        self._running = None
        if not close_abandoned(self._tasks, self._generations):
            return
        folds = {name: fold_digest(one) for name, one in self._projections.items()}
        task = self._tasks.claim(self._instance, folds)
        if task is None:
            return
        program = self._program(task.task)
        try:
            program.spawn()
        except (UserError, OSError) as error:
            self._tasks.end(task.task, TaskState.FAILED, {"detail": f"its process cannot be started: {error}"})
            return
        self._running = _RunningTask(task, program)
        log.info("%s of %s was requested (task %d); see %s", task.kind, task.projection, task.task, program.log_path)

    def _has_ended(self, running: _RunningTask) -> bool:
        """Whether the task is over, and recorded as such."""
        # Kept until the end is recorded: if Postgres is unavailable after a cancelled process was stopped, the next
        # attempt finds an ended process, and would record a failure.
        if running.end_state is None:
            running.end_state = self._end_state(running)
            if running.end_state is None:
                return False
            running.said = _printable(last_errors(running.program))
        running.program.stop()
        said = running.said if running.end_state is TaskState.FAILED else ""
        # Without effect on a task that has recorded its result.
        close_task(self._tasks, self._generations, running.task, running.end_state, said)
        return True

    def _end_state(self, running: _RunningTask) -> TaskState | None:
        """How the task ends, unless it has recorded that itself; None while it runs.

        A process whose task is closed is stopped too. It has recorded its result, which is the last that it does, or
        another node has closed the task, and the process must not switch readers any more.
        """
        is_alive = running.program.is_alive()
        task = self._tasks.one(running.task.task)
        if is_alive and task is not None and task.is_open and not task.cancel:
            return None
        return TaskState.CANCELLED if task is not None and task.cancel else TaskState.FAILED

    def _run(self) -> None:
        while not self._stop.wait(TASK_POLL_INTERVAL_S):
            self.poll()

    def poll(self) -> None:
        """Do a step; log an error, once while it lasts. The thread must outlive every error: no other starts tasks."""
        try:
            self.step()
        except (PortUnavailable, SinkRejected) as error:
            if self._is_new(error):
                log.warning("requested tasks cannot be read now: %s; trying again", error)
        except Exception as error:
            if self._is_new(error):
                log.exception("requested tasks cannot be started now; trying again")
        else:
            self._last_error = ""

    def _is_new(self, error: Exception) -> bool:
        before, self._last_error = self._last_error, type(error).__name__
        return before != self._last_error


def _printable(said: str) -> str:
    """The end of log text, without characters that no text of a result has, such as NUL and escapes of colour."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in said[-MAX_SAID_CHARS:])
