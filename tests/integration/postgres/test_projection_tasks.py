"""Tasks on projections in Postgres: one at a time for each, claimed once, ended once, and never lost with a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from infrastructure.observability.abandoned_tasks import SILENT_TASK_S, close_abandoned, is_abandoned
from infrastructure.observability.stage_reports import instance_of
from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.projection_tasks import (
    MAX_KEPT_TASKS,
    ProjectionTasks,
    TaskIsOpen,
    TaskProgress,
    TaskState,
)

HERE = instance_of(os.getpid())


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = reader_engine(postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def tasks(engine: Engine) -> ProjectionTasks:
    return ProjectionTasks(engine)


def test_a_projection_has_one_open_task_at_a_time(tasks: ProjectionTasks) -> None:
    first = tasks.request("speed", "rebuild", {"verify_only": True})
    assert (first.state, first.options) == ("requested", {"verify_only": True})
    with pytest.raises(TaskIsOpen):
        tasks.request("speed", "drop", {"generation": 2})
    assert tasks.request("analytics", "rebuild", {}).task > first.task
    assert tasks.end(first.task, TaskState.DONE, {"detail": "equal"})
    assert tasks.request("speed", "switch", {"generation": 2}).state == "requested"


def test_requests_at_the_same_time_leave_one_open_task(tasks: ProjectionTasks) -> None:
    def request(_number: int) -> bool:
        try:
            tasks.request("speed", "rebuild", {})
        except TaskIsOpen:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(request, range(16))) == 1
    assert len(tasks.open()) == 1


def test_a_task_is_claimed_once_in_the_order_of_the_requests(tasks: ProjectionTasks) -> None:
    numbers = [tasks.request(name, "rebuild", {}).task for name in ("speed", "analytics", "orders")]
    with ThreadPoolExecutor(6) as pool:
        claimed = [one.task for one in pool.map(lambda _: tasks.claim(HERE), range(6)) if one is not None]
    assert sorted(claimed) == numbers
    assert {one.state for one in tasks.open()} == {"running"}


def test_progress_and_result_are_read_back(tasks: ProjectionTasks) -> None:
    number = tasks.request("speed", "rebuild", {}).task
    assert tasks.claim(HERE) is not None
    tasks.report(number, HERE, TaskProgress(step="filling", events_done=5, events_total=9, events_per_s=2.5))
    running = tasks.one(number)
    assert running is not None
    assert (running.progress.step, running.progress.events_done, running.is_open) == ("filling", 5, True)
    assert tasks.end(number, TaskState.DONE, {"verdict": "equal"})
    # Who comes later, such as the process that watched it, changes nothing.
    assert not tasks.end(number, TaskState.FAILED, {"detail": "its process ended"})
    tasks.report(number, HERE, TaskProgress(step="late"))
    ended = tasks.latest()["speed"]
    assert (ended.state, ended.result, ended.progress.step) == ("done", {"verdict": "equal"}, "filling")


def test_a_task_that_no_process_has_taken_ends_at_once_when_it_is_cancelled(tasks: ProjectionTasks) -> None:
    waiting, running = (tasks.request(name, "rebuild", {}).task for name in ("speed", "analytics"))
    tasks.cancel(waiting)
    assert tasks.claim(HERE) is not None
    tasks.cancel(running)
    states = {one.projection: (one.state, one.cancel) for one in tasks.latest().values()}
    assert states["speed"][0] == "cancelled"
    assert states["analytics"] == ("running", True)
    assert tasks.claim(HERE) is None


def test_the_task_of_an_ended_process_is_closed_and_can_be_requested_again(tasks: ProjectionTasks) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    instance = instance_of(child.pid)
    number = tasks.request("speed", "rebuild", {}).task
    assert tasks.claim(instance) is not None
    assert [one.task for one in close_abandoned(tasks)] == [number]
    child.kill()
    child.communicate()
    assert close_abandoned(tasks) == []
    closed = tasks.one(number)
    assert closed is not None
    assert (closed.state, "resumes" in (closed.result or {})["detail"]) == ("failed", True)
    assert tasks.request("speed", "rebuild", {}).is_open


def test_a_silent_task_of_another_machine_is_abandoned(tasks: ProjectionTasks, engine: Engine) -> None:
    number = tasks.request("speed", "rebuild", {}).task
    tasks.claim("another-machine:17:4026531836:99")
    fresh = tasks.one(number)
    assert fresh is not None
    assert not is_abandoned(fresh)
    with engine.begin() as connection:
        back = text("UPDATE projection_tasks SET reported_at = reported_at - :silent * interval '1 second'")
        connection.execute(back, {"silent": SILENT_TASK_S + 1})
    silent = tasks.one(number)
    assert silent is not None
    assert is_abandoned(silent)


def test_invariant_15_only_the_newest_ended_tasks_are_kept(tasks: ProjectionTasks, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO projection_tasks (projection, kind, options, state, ended_at)"
                " SELECT 'speed', 'rebuild', '{}', 'done', now() FROM generate_series(1, :many)"
            ),
            {"many": MAX_KEPT_TASKS + 50},
        )
    newest = tasks.request("speed", "rebuild", {}).task
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT count(*), max(task) FROM projection_tasks")).one()
    assert tuple(kept) == (MAX_KEPT_TASKS + 1, newest)
