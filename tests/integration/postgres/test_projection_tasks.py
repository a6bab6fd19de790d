"""Tasks on projections in Postgres: one at a time for each, claimed once, ended once, and never lost with a process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from infrastructure.observability.abandoned_tasks import SILENT_TASK_S, close_abandoned, is_abandoned, is_silent
from infrastructure.observability.stage_reports import instance_of
from infrastructure.operations.projection_task import TaskReporter, run_task
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.postgres.projection_tasks import (
    MAX_KEPT_TASKS,
    UNSTORABLE,
    ProjectionTasks,
    TaskIsOpen,
    TaskKind,
    TaskProgress,
    TaskState,
    hold_open,
)
from infrastructure.settings.settings import Settings
from projections.analytics import ANALYTICS
from projections.catalogue import PROJECTIONS
from projections.core.ports import PortUnavailable
from projections.digest.digest import fold_digest
from projections.rebuild.generations import NotSwitched
from projections.speed import SPEED
from tests.support.time_limits import scaled_s

HERE = instance_of(os.getpid())
ELSEWHERE = "another-machine:17:4026531836:99"
FOLDS = {name: fold_digest(one) for name, one in PROJECTIONS.items()}


@pytest.fixture
def tasks(engine: Engine) -> ProjectionTasks:
    return ProjectionTasks(engine)


def test_a_projection_has_one_open_task_at_a_time(tasks: ProjectionTasks) -> None:
    first = tasks.request(SPEED, "rebuild", {"verify_only": True})
    assert (first.state, first.options) == ("requested", {"verify_only": True})
    with pytest.raises(TaskIsOpen):
        tasks.request(SPEED, "drop", {"generation": 2})
    assert tasks.request(ANALYTICS, "rebuild", {}).task > first.task
    assert tasks.end(first.task, TaskState.DONE, {"detail": "equal"})
    assert tasks.request(SPEED, "switch", {"generation": 2}).state == "requested"


def test_requests_at_the_same_time_leave_one_open_task(tasks: ProjectionTasks) -> None:
    def request(_number: int) -> bool:
        try:
            tasks.request(SPEED, "rebuild", {})
        except TaskIsOpen:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(request, range(16))) == 1
    assert len(tasks.open()) == 1


def test_a_task_is_claimed_once_in_the_order_of_the_requests(tasks: ProjectionTasks) -> None:
    numbers = [tasks.request(PROJECTIONS[name], "rebuild", {}).task for name in ("speed", "analytics", "orders")]
    with ThreadPoolExecutor(6) as pool:
        claimed = [one.task for one in pool.map(lambda n: tasks.claim(f"host:{n}", FOLDS), range(6)) if one is not None]
    assert sorted(claimed) == numbers
    assert {one.state for one in tasks.open()} == {"running"}


def test_progress_and_result_are_read_back(tasks: ProjectionTasks) -> None:
    number = tasks.request(SPEED, "rebuild", {}).task
    assert tasks.claim(HERE, FOLDS) is not None
    assert tasks.report(number, HERE, TaskProgress(step="filling", events_done=5, events_total=9, events_per_s=2.5))
    running = tasks.one(number)
    assert running is not None
    assert (running.progress.step, running.progress.events_done, running.is_open) == ("filling", 5, True)
    assert tasks.end(number, TaskState.DONE, {"verdict": "equal"})
    # What comes later, such as the process that watched it, changes nothing.
    assert not tasks.end(number, TaskState.FAILED, {"detail": "its process ended"})
    assert not tasks.report(number, HERE, TaskProgress(step="late"))
    ended = tasks.latest()["speed"]
    assert (ended.state, ended.result, ended.progress.step) == ("done", {"verdict": "equal"}, "filling")


def test_a_task_that_no_process_has_taken_ends_at_once_when_it_is_cancelled(tasks: ProjectionTasks) -> None:
    waiting, running = (tasks.request(one, "rebuild", {}).task for one in (SPEED, ANALYTICS))
    assert tasks.cancel(waiting)
    assert tasks.claim(HERE, FOLDS) is not None
    assert tasks.cancel(running)
    states = {one.projection: (one.state, one.cancel) for one in tasks.latest().values()}
    assert states["speed"][0] == "cancelled"
    assert states["analytics"] == ("running", True)
    assert tasks.claim(ELSEWHERE, FOLDS) is None


@pytest.mark.parametrize("kind", ["switch", "roll-back", "drop"])
def test_what_moves_readers_or_deletes_is_cancelled_only_before_it_starts(
    tasks: ProjectionTasks, kind: TaskKind
) -> None:
    assert tasks.cancel(tasks.request(SPEED, kind, {"generation": 2}).task)
    started = tasks.request(SPEED, kind, {"generation": 2}).task
    assert tasks.claim(HERE, FOLDS) is not None
    assert not tasks.cancel(started)
    assert [(one.task, one.cancel) for one in tasks.open()] == [(started, False)]


def test_a_task_is_claimed_only_by_a_node_with_the_fold_of_the_request(tasks: ProjectionTasks) -> None:
    tasks.request(SPEED, "rebuild", {})
    assert tasks.claim(HERE, {**FOLDS, "speed": FOLDS["analytics"]}) is None
    assert tasks.claim(HERE, FOLDS) is not None


def test_a_claim_whose_answer_was_lost_is_answered_again(tasks: ProjectionTasks) -> None:
    first = tasks.request(SPEED, "rebuild", {}).task
    tasks.request(ANALYTICS, "rebuild", {})
    claimed = [tasks.claim(HERE, FOLDS) for _ in range(2)]
    assert [one.task for one in claimed if one is not None] == [first, first]


def test_a_process_learns_that_its_task_was_closed_or_is_done_by_another_one(tasks: ProjectionTasks) -> None:
    number = tasks.request(SPEED, "rebuild", {}).task
    assert tasks.take(number, HERE) is None, "no starter has claimed it"
    tasks.claim(ELSEWHERE, FOLDS)
    assert not tasks.report(number, HERE, TaskProgress())
    assert tasks.take(number, HERE) is not None
    closed = threading.Event()
    with TaskReporter(tasks, number, HERE, closed.set):
        tasks.end(number, TaskState.FAILED, {"detail": "its process ended"})
        assert closed.wait(scaled_s(20))


def test_a_closed_task_moves_no_readers(tasks: ProjectionTasks, engine: Engine) -> None:
    number = tasks.request(SPEED, "switch", {"generation": 2}).task
    tasks.claim(HERE, FOLDS)

    def check(connection: Connection) -> None:
        if not hold_open(connection, number, HERE):
            raise NotSwitched("closed")

    generations = PostgresGenerations(engine, check)
    generations.first(SPEED)
    new = generations.begin(SPEED)
    (live, _) = generations.all("speed")
    with pytest.raises(NotSwitched, match="closed"), generations.switching(live, new):
        tasks.end(number, TaskState.FAILED, {"detail": "its process ended"})
    for change in (lambda: generations.record(new, "dropped", None), lambda: generations.begin(SPEED)):
        with pytest.raises(NotSwitched, match="closed"):
            change()
    assert [(one.number, one.active, one.state) for one in generations.all("speed")] == [
        (1, True, "following"),
        (2, False, "filling"),
    ]


def test_a_task_is_not_closed_between_its_check_and_its_switch(tasks: ProjectionTasks, engine: Engine) -> None:
    number = tasks.request(SPEED, "switch", {"generation": 2}).task
    tasks.claim(HERE, FOLDS)
    with engine.begin() as switching, engine.connect() as closing:
        assert hold_open(switching, number, HERE)
        with pytest.raises(OperationalError, match="could not obtain lock"):
            closing.execute(text("SELECT 1 FROM projection_tasks FOR NO KEY UPDATE NOWAIT"))


def test_a_result_is_recorded_although_postgres_is_unavailable_first(tasks: ProjectionTasks, engine: Engine) -> None:
    class LostEnd(ProjectionTasks):
        lost = 2

        def end(self, task: int, state: TaskState, result: Mapping[str, Any]) -> bool:
            if self.lost:
                self.lost -= 1
                raise PortUnavailable("Postgres: the server is unavailable")
            return super().end(task, state, result)

    unknown = replace(SPEED, name="unknown")
    tasks.request(unknown, "rebuild", {})
    claimed = tasks.claim(HERE, {"unknown": fold_digest(unknown)})
    assert claimed is not None
    assert run_task(Settings(), LostEnd(engine), claimed, HERE) is TaskState.FAILED
    assert "no projection 'unknown'" in (tasks.latest()["unknown"].result or {})["detail"]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"detail": "a\0b\udcffc"}, "a\ufffdb?c"),
        # A name is not cleaned, since no code has such names: so this one is rejected.
        ({"detail": "", "a\0": 1}, UNSTORABLE),
    ],
)
def test_a_task_ends_whatever_text_its_result_has(
    tasks: ProjectionTasks, result: dict[str, Any], expected: str
) -> None:
    number = tasks.request(SPEED, "rebuild", {}).task
    assert tasks.end(number, TaskState.FAILED, result)
    assert (tasks.latest()["speed"].result or {})["detail"] == expected


def test_the_task_of_an_ended_process_is_closed_and_can_be_requested_again(
    tasks: ProjectionTasks, engine: Engine
) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    instance = instance_of(child.pid)
    number = tasks.request(SPEED, "rebuild", {}).task
    assert tasks.claim(instance, FOLDS) is not None
    generations = PostgresGenerations(engine)
    assert [one.task for one in close_abandoned(tasks, generations)] == [number]
    child.kill()
    child.communicate()
    assert close_abandoned(tasks, generations) == []
    closed = tasks.one(number)
    assert closed is not None
    assert (closed.state, "request it again" in (closed.result or {})["detail"]) == ("failed", True)
    assert tasks.request(SPEED, "rebuild", {}).is_open


# With ids: the instance has the number of this process, and each worker of a parallel run must collect the same names.
@pytest.mark.parametrize(("instance", "abandoned"), [(ELSEWHERE, True), (HERE, False)], ids=["elsewhere", "here"])
def test_only_a_task_of_another_machine_is_abandoned_by_its_silence(
    tasks: ProjectionTasks, engine: Engine, instance: str, abandoned: bool
) -> None:
    number = tasks.request(SPEED, "rebuild", {}).task
    tasks.claim(instance, FOLDS)
    fresh = tasks.one(number)
    assert fresh is not None
    assert not is_abandoned(fresh)
    with engine.begin() as connection:
        back = text("UPDATE projection_tasks SET reported_at = reported_at - :silent * interval '1 second'")
        connection.execute(back, {"silent": SILENT_TASK_S + 1})
    silent = tasks.one(number)
    assert silent is not None
    assert is_silent(silent)
    assert is_abandoned(silent) is abandoned


def test_invariant_15_only_the_newest_ended_tasks_are_kept(tasks: ProjectionTasks, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO projection_tasks (projection, fold_digest, kind, options, state, ended_at)"
                " SELECT 'speed', 'fold', 'rebuild', '{}', 'done', now() FROM generate_series(1, :many)"
            ),
            {"many": MAX_KEPT_TASKS + 50},
        )
    newest = tasks.request(SPEED, "rebuild", {}).task
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT count(*), max(task) FROM projection_tasks")).one()
    assert tuple(kept) == (MAX_KEPT_TASKS + 1, newest)


def test_regression_a_cancel_does_not_wait_without_limit_for_a_task_that_changes_a_generation(
    tasks: ProjectionTasks, engine: Engine
) -> None:
    number = tasks.request(SPEED, "rebuild", {}).task
    tasks.claim(HERE, FOLDS)
    with engine.begin() as changing:
        assert hold_open(changing, number, HERE)
        with pytest.raises(PortUnavailable, match="lock timeout"):
            tasks.cancel(number)
    assert tasks.cancel(number)
