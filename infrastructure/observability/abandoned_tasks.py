"""Finds tasks on projections whose process has ended, and closes them, so that they can be requested again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from infrastructure.observability.stage_reports import is_alive, is_seen_from_here
from infrastructure.observability.watchdog import STUCK_AFTER_S
from infrastructure.postgres.projection_tasks import ProjectionTask, ProjectionTasks, TaskState
from projections.rebuild.generations import Generation, Generations, active

SILENT_TASK_S: Final = STUCK_AFTER_S + 10.0
"""A task on another machine counts as ended after so long without a report: nothing else of its process is seen."""
ABANDONED: Final = "its process ended: request it again; a rebuild resumes where it stopped"


def is_abandoned(task: ProjectionTask) -> bool:
    """Whether the task runs by the table, and its process has ended.

    A process that can be seen from here is never judged by its silence: it may be stopped, or be without Postgres, and
    would go on next to the task that is requested instead.
    """
    if task.state is not TaskState.RUNNING or task.instance is None:
        return False
    return not is_alive(task.instance) if is_seen_from_here(task.instance) else is_silent(task)


def is_silent(task: ProjectionTask) -> bool:
    """Whether the task runs and has not reported for SILENT_TASK_S."""
    return task.state is TaskState.RUNNING and (task.silent_s or 0.0) > SILENT_TASK_S


def close_abandoned(tasks: ProjectionTasks, generations: Generations) -> list[ProjectionTask]:
    """Close every abandoned task as failed. Returns the tasks that are still open. Raises PortUnavailable."""
    still_open = []
    for task in tasks.open():
        if is_abandoned(task):
            close_task(tasks, generations, task, TaskState.FAILED)
        else:
            still_open.append(task)
    return still_open


def close_task(
    tasks: ProjectionTasks, generations: Generations, task: ProjectionTask, state: TaskState, said: str = ""
) -> None:
    """Close a task that has not recorded its result, by what the generations show. ``said``: its last errors.

    Without effect on a closed task. Raises PortUnavailable.
    """
    began = "cancelled" if state is TaskState.CANCELLED else f"its process ended{f' ({said})' if said else ''}"
    tasks.end(task.task, state, {"detail": f"{began}: {effect_of(task, generations.all(task.projection))}"})


def effect_of(task: ProjectionTask, generations: Sequence[Generation]) -> str:
    """What a task without a result has done, by the generations that are not dropped, and what to do next. Pure."""
    number = task.options.get("generation")
    if task.kind == "rebuild":
        kept = [one for one in generations if not one.active and one.state != "following"]
        if not kept:
            return "nothing of it is kept; request it again"
        then = (
            "another rebuild resumes it" if kept[-1].state == "filling" else "GET /projections shows what may be done"
        )
        return f"generation {kept[-1].number} is {kept[-1].state} and kept; {then}"
    if task.kind == "drop":
        if any(one.number == number for one in generations):
            return f"generation {number} is not dropped; request it again"
        return f"generation {number} is dropped, but some of its content may be left; request the same drop again"
    live = active(generations)
    if live is not None and live.number == number:
        return f"readers follow generation {number}; the generation of before may not be dropped yet"
    return f"readers still follow generation {'-' if live is None else live.number}; request it again"
