"""Finds tasks on projections whose process has ended, and closes them, so that they can be requested again."""

from __future__ import annotations

from typing import Final

from infrastructure.observability.stage_reports import is_alive
from infrastructure.observability.watchdog import STUCK_AFTER_S
from infrastructure.postgres.projection_tasks import ProjectionTask, ProjectionTasks, TaskState

SILENT_TASK_S: Final = STUCK_AFTER_S + 10.0
"""A running task without a report for so long counts as ended: of a process on another machine only this is seen."""
ABANDONED: Final = "its process ended: request it again; a rebuild resumes where it stopped"


def is_abandoned(task: ProjectionTask) -> bool:
    """Whether the task runs by the table, and its process has ended."""
    if task.state is not TaskState.RUNNING or task.instance is None:
        return False
    return not is_alive(task.instance) or (task.silent_s or 0.0) > SILENT_TASK_S


def close_abandoned(tasks: ProjectionTasks) -> list[ProjectionTask]:
    """Close every abandoned task as failed. Returns the tasks that are still open. Raises PortUnavailable."""
    still_open = []
    for task in tasks.open():
        if is_abandoned(task):
            tasks.end(task.task, TaskState.FAILED, {"detail": ABANDONED})
        else:
            still_open.append(task)
    return still_open
