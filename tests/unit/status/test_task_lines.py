"""What ``status`` says of the tasks on projections that are not over."""

from __future__ import annotations

import os

from infrastructure.observability.stage_reports import StageProgress, StageReport, instance_of
from infrastructure.postgres.projection_tasks import ProjectionTask, TaskProgress, TaskState
from infrastructure.status.task_lines import UNCLAIMED_AFTER_S, running_folds, task_lines

NOW_MS = 1_800_000_000_000
TASK = ProjectionTask(
    task=7,
    projection="speed",
    fold_digest="fold of the request",
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
    assert task_lines([], NOW_MS, []) == []


def test_a_running_rebuild_shows_its_share_rate_and_time_left() -> None:
    (line,) = task_lines([TASK], NOW_MS, [])
    assert (line.stage, line.state) == ("rebuild of speed", "filling: 25 %, 1,500 events/s, 90 s left")
    assert line.good


def test_a_task_without_a_process_says_what_to_do() -> None:
    (line,) = task_lines([TASK._replace(instance=instance_of(2**22 + 1) + "0")], NOW_MS, [])
    assert "request it again" in line.advice


def test_a_request_that_no_serve_takes_says_what_to_do() -> None:
    waiting = TASK._replace(state=TaskState.REQUESTED, instance=None, progress=TaskProgress())._replace(
        requested_at_ms=NOW_MS - 1_000
    )
    (line,) = task_lines([waiting], NOW_MS, [])
    assert (line.state, line.good) == ("waits for its process", True)
    late_ms = NOW_MS + int(UNCLAIMED_AFTER_S * 1_000)
    (line,) = task_lines([waiting], late_ms, ["fold of the request"])
    assert "start another one" in line.advice
    (line,) = task_lines([waiting], late_ms, ["fold of other code"])
    assert "no `serve` with this fold runs" in line.advice


def test_the_folds_that_run_are_those_of_living_workers() -> None:
    def report(age_s: float, *, alive: bool, **detail: str) -> StageReport:
        return StageReport("speed", "host:1:2:3", age_s, StageProgress(detail={**detail}), alive)

    reports = [report(1, alive=True, fold="a"), report(1, alive=False, fold="b"), report(60, alive=True, fold="c")]
    assert running_folds([*reports, report(1, alive=True)]) == {"a"}


def test_a_living_process_without_a_report_needs_a_person() -> None:
    silent = TASK._replace(silent_s=75.0)
    (line,) = task_lines([silent], NOW_MS, [])
    assert "not reported for 75 s" in line.advice
    assert "cancel it" in line.advice
    (line,) = task_lines([silent._replace(kind="switch")], NOW_MS, [])
    assert f"end the process {silent.instance}" in line.advice
