"""Status lines of the tasks on projections that were requested over HTTP and are not over. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from infrastructure.observability.abandoned_tasks import ABANDONED, is_abandoned
from infrastructure.postgres.projection_tasks import ProjectionTask, TaskProgress, TaskState
from infrastructure.status.lines import StatusLine

UNCLAIMED_AFTER_S: Final = 15.0
UNCLAIMED: Final = "no `serve` with projections has taken it yet: start one, or see its log"


def task_lines(tasks: Sequence[ProjectionTask], now_ms: int) -> list[StatusLine]:
    """One line for each open task; having none is no fault."""
    return [_line(task, now_ms) for task in tasks]


def task_detail(task: ProjectionTask, now_ms: int) -> str:
    """What an open task does now, or what it waits for."""
    if is_abandoned(task):
        return ABANDONED
    if task.cancel:
        return "is being cancelled"
    if task.state is TaskState.REQUESTED:
        return UNCLAIMED if _is_late(task, now_ms) else "waits for its process"
    return task.progress.step or "its process starts"


def _line(task: ProjectionTask, now_ms: int) -> StatusLine:
    detail = task_detail(task, now_ms)
    needs_a_person = is_abandoned(task) or _is_late(task, now_ms)
    filled = "" if needs_a_person else _filled(task.progress)
    name = f"{task.kind} of {task.projection}"
    state = str(task.state) if needs_a_person else f"{detail}{filled}"
    return StatusLine(name, state, None, advice=detail if needs_a_person else "")


def _is_late(task: ProjectionTask, now_ms: int) -> bool:
    return task.state is TaskState.REQUESTED and now_ms - task.requested_at_ms > UNCLAIMED_AFTER_S * 1000


def _filled(progress: TaskProgress) -> str:
    if not progress.events_total:
        return ""
    share = 100 * progress.events_done / progress.events_total
    left = "" if progress.seconds_left is None else f", {progress.seconds_left:,.0f} s left"
    return f": {share:.0f} %, {progress.events_per_s:,.0f} events/s{left}"
