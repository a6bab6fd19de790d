"""Status lines of the tasks on projections that were requested over HTTP and are not over. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from infrastructure.observability.abandoned_tasks import ABANDONED, SILENT_TASK_S, is_abandoned, is_silent
from infrastructure.observability.stage_reports import StageReport
from infrastructure.postgres.projection_tasks import CANCELLABLE_KINDS, ProjectionTask, TaskProgress, TaskState
from infrastructure.status.lines import StatusLine

UNCLAIMED_AFTER_S: Final = 15.0
UNCLAIMED: Final = "no `serve` has taken it yet: each runs one task at a time; start another one, or see its log"
NO_FOLD: Final = "no `serve` with this fold runs: start `serve` with the code that recorded the request, or cancel it"


def running_folds(reports: Iterable[StageReport]) -> set[str]:
    """The digests of the folds that running workers report, of all projections."""
    running = (one for one in reports if one.alive and one.age_s < SILENT_TASK_S)
    return {str(fold) for one in running if (fold := one.progress.detail.get("fold"))}


def task_lines(tasks: Sequence[ProjectionTask], now_ms: int, folds: Collection[str]) -> list[StatusLine]:
    """One line for each open task; having none is no fault. ``folds``: those of ``running_folds``."""
    return [_line(task, now_ms, folds) for task in tasks]


def task_detail(task: ProjectionTask, now_ms: int, folds: Collection[str]) -> str:
    """What an open task does now, or what it waits for."""
    if is_abandoned(task):
        return ABANDONED
    if task.cancel:
        return "is being cancelled"
    if task.state is TaskState.REQUESTED:
        if not is_late(task, now_ms):
            return "waits for its process"
        return UNCLAIMED if task.fold_digest in folds else NO_FOLD
    if is_silent(task):
        then = "cancel it" if task.kind in CANCELLABLE_KINDS else f"end the process {task.instance}"
        return f"its process has not reported for {task.silent_s:,.0f} s: wait if Postgres was unavailable, or {then}"
    return task.progress.step or "its process starts"


def is_late(task: ProjectionTask, now_ms: int) -> bool:
    """Whether a requested task waits for longer than a `serve` needs to take it."""
    return task.state is TaskState.REQUESTED and now_ms - task.requested_at_ms > UNCLAIMED_AFTER_S * 1000


def _line(task: ProjectionTask, now_ms: int, folds: Collection[str]) -> StatusLine:
    detail = task_detail(task, now_ms, folds)
    needs_a_person = is_abandoned(task) or is_silent(task) or is_late(task, now_ms)
    filled = "" if needs_a_person else _filled(task.progress)
    name = f"{task.kind} of {task.projection}"
    state = str(task.state) if needs_a_person else f"{detail}{filled}"
    return StatusLine(name, state, None, advice=detail if needs_a_person else "")


def _filled(progress: TaskProgress) -> str:
    if not progress.events_total:
        return ""
    share = 100 * progress.events_done / progress.events_total
    left = "" if progress.seconds_left is None else f", {progress.seconds_left:,.0f} s left"
    return f": {share:.0f} %, {progress.events_per_s:,.0f} events/s{left}"
