"""Starts a process for each task on a projection that the API has recorded, one at a time on this node."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from infrastructure.embedded.service import Program, last_errors
from infrastructure.errors import UserError
from infrastructure.observability.abandoned_tasks import ABANDONED, close_abandoned
from infrastructure.postgres.projection_tasks import ProjectionTasks, TaskState
from projections.core.ports import PortUnavailable, SinkRejected

log = logging.getLogger(__name__)

TASK_POLL_INTERVAL_S: Final = 1.0
STOP_TIMEOUT_S: Final = 2.0


class _RunningTask(NamedTuple):
    task: int
    program: Program


class TaskStarter:
    """Polls the table of tasks in a thread. The process of a task ends with this one.

    Not a service of the supervisor, which would restart it: a task that ends is over.
    """

    def __init__(self, tasks: ProjectionTasks, program: Callable[[int], Program], instance: str) -> None:
        """``program`` makes the program of a task; ``instance`` names this process until that one reports."""
        self._tasks = tasks
        self._program = program
        self._instance = instance
        self._running: _RunningTask | None = None
        self._is_unavailable = False
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
        close_abandoned(self._tasks)
        task = self._tasks.claim(self._instance)
        if task is None:
            return
        program = self._program(task.task)
        try:
            program.spawn()
        except (UserError, OSError) as error:
            self._tasks.end(task.task, TaskState.FAILED, {"detail": f"its process cannot be started: {error}"})
            return
        self._running = _RunningTask(task.task, program)
        log.info("%s of %s was requested (task %d); see %s", task.kind, task.projection, task.task, program.log_path)

    def _has_ended(self, running: _RunningTask) -> bool:
        """Whether the task is over, and recorded as such."""
        if running.program.is_alive():
            task = self._tasks.one(running.task)
            if task is not None and task.is_open and not task.cancel:
                return False
            if task is not None and not task.is_open:
                return False  # it has recorded its result, and ends by itself
            running.program.stop()
            detail = "cancelled: what was folded is kept, and another rebuild resumes it"
            self._tasks.end(running.task, TaskState.CANCELLED, {"detail": detail})
            return True
        said = last_errors(running.program)
        # Without effect on a task that has recorded its result.
        self._tasks.end(running.task, TaskState.FAILED, {"detail": f"{ABANDONED}{f' ({said})' if said else ''}"})
        return True

    def _run(self) -> None:
        while not self._stop.wait(TASK_POLL_INTERVAL_S):
            try:
                self.step()
            except (PortUnavailable, SinkRejected) as error:
                if not self._is_unavailable:
                    log.warning("requested tasks cannot be read now: %s; trying again", error)
                self._is_unavailable = True
            else:
                self._is_unavailable = False
