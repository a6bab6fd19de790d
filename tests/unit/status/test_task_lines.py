"""What ``status`` says of the tasks on projections that are not over."""

from __future__ import annotations

import os

from infrastructure.observability.stage_reports import instance_of
from infrastructure.postgres.projection_tasks import ProjectionTask, TaskProgress, TaskState
from infrastructure.status.task_lines import UNCLAIMED_AFTER_S, task_lines

NOW_MS = 1_800_000_000_000
TASK = ProjectionTask(
    task=7,
    projection="speed",
    kind="rebuild",
    options={},
    state=TaskState.RUNNING,
    requested_at_ms=NOW_MS - 60_000,
    started_at_ms=NOW_MS - 59_000,
    ended_at_ms=None,
    silent_s=0.4,
    instance=instance_of(os.getpid()),
    cancel=False,
    progress=TaskProgress(step="filling", events_done=250, events_total=1_000, events_per_s=1_500.0, seconds_left=90.4),
    result=None,
)


def test_without_a_task_there_is_no_line() -> None:
    assert task_lines([], NOW_MS) == []


def test_a_running_rebuild_shows_its_share_rate_and_time_left() -> None:
    (line,) = task_lines([TASK], NOW_MS)
    assert (line.stage, line.state) == ("rebuild of speed", "filling: 25 %, 1,500 events/s, 90 s left")
    assert line.good


def test_a_task_without_a_process_says_what_to_do() -> None:
    (line,) = task_lines([TASK._replace(instance=instance_of(2**22 + 1) + "0")], NOW_MS)
    assert "request it again" in line.advice


def test_a_request_that_no_serve_takes_says_what_to_do() -> None:
    waiting = TASK._replace(state=TaskState.REQUESTED, instance=None, progress=TaskProgress())._replace(
        requested_at_ms=NOW_MS - 1_000
    )
    (line,) = task_lines([waiting], NOW_MS)
    assert (line.state, line.good) == ("waits for its process", True)
    (line,) = task_lines([waiting], NOW_MS + int(UNCLAIMED_AFTER_S * 1_000))
    assert "start one" in line.advice
