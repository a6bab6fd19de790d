"""``serve`` starts a process for each requested task, one at a time, and records how it ended if that did not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from sqlalchemy import Engine

from domain.features.keyed_event import KeyedEvent
from domain.features.speed.window import SpeedState
from infrastructure.embedded.service import Program, ServiceCommand
from infrastructure.observability.stage_reports import instance_of
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.postgres.projection_tasks import ProjectionTask, ProjectionTasks, TaskKind, TaskState
from infrastructure.supervision.task_starter import TaskStarter
from projections.analytics import ANALYTICS
from projections.catalogue import PROJECTIONS
from projections.core.ports import PortUnavailable
from projections.core.projection import Projection
from projections.speed import SPEED
from tests.support.waiting import eventually

FOREVER = (sys.executable, "-c", "import signal; signal.pause()")
BROKEN = (sys.executable, "-c", "import sys; sys.exit('ERROR out of paper')")


class Node:
    """A starter whose tasks run the same command; ``programs`` are those that it has made."""

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        command: Sequence[str],
        projections: Mapping[str, Projection[Any]] = PROJECTIONS,
        tasks: ProjectionTasks | None = None,
    ) -> None:
        self.before_start: Callable[[], None] = lambda: None
        self.programs: list[Program] = []
        self._folder = folder
        self._command = command
        self.instance = instance_of(os.getpid())
        generations = PostgresGenerations(engine)
        self.starter = TaskStarter(
            tasks or ProjectionTasks(engine), generations, self._program, self.instance, projections
        )

    def _program(self, task: int) -> Program:
        self.before_start()
        command = ServiceCommand("projection-task", [*self._command], dict(os.environ))
        self.programs.append(Program(command, self._folder, self._folder))
        return self.programs[-1]


class LostEnds(ProjectionTasks):
    """Tasks in a Postgres that is unavailable when the first ``lost`` ends are recorded."""

    lost = 1

    def end(self, task: int, state: TaskState, result: Mapping[str, Any]) -> bool:
        if self.lost:
            self.lost -= 1
            raise PortUnavailable("Postgres: the server is unavailable")
        return super().end(task, state, result)


def another_fold(state: SpeedState, event: KeyedEvent) -> SpeedState:
    return SPEED.fold(state, event)


@pytest.fixture
def tasks(engine: Engine) -> ProjectionTasks:
    return ProjectionTasks(engine)


def detail(tasks: ProjectionTasks) -> str:
    return str((newest(tasks).result or {})["detail"])


def newest(tasks: ProjectionTasks, projection: str = "speed") -> ProjectionTask:
    return tasks.latest()[projection]


def test_one_task_runs_at_a_time_and_the_next_one_follows(
    tasks: ProjectionTasks, engine: Engine, tmp_path: Path
) -> None:
    node = Node(engine, tmp_path, FOREVER)
    node.starter.step()
    assert node.programs == []
    first = tasks.request(SPEED, "rebuild", {}).task
    tasks.request(ANALYTICS, "rebuild", {})
    for _ in range(3):
        node.starter.step()
    assert len(node.programs) == 1
    assert (newest(tasks).state, newest(tasks, "analytics").state) == ("running", "requested")
    # The task records its result, and its process ends.
    tasks.end(first, TaskState.DONE, {"detail": "equal"})
    node.programs[0].stop()
    node.starter.step()
    assert newest(tasks, "analytics").state == "running"
    assert newest(tasks).state == "done"
    node.starter.stop()
    assert not node.programs[1].is_alive()


def test_a_task_whose_process_is_killed_is_failed_and_says_what_to_do(
    tasks: ProjectionTasks, engine: Engine, tmp_path: Path
) -> None:
    node = Node(engine, tmp_path, FOREVER)
    tasks.request(SPEED, "rebuild", {})
    node.starter.step()
    child = node.programs[0].child
    assert child is not None
    child.send(SIGKILL)
    child.wait(10.0)
    node.starter.step()
    assert newest(tasks).state == "failed"
    assert "request it again" in detail(tasks)


def test_a_task_that_fails_at_its_start_shows_the_last_line_of_its_log(
    tasks: ProjectionTasks, engine: Engine, tmp_path: Path
) -> None:
    node = Node(engine, tmp_path, BROKEN)
    tasks.request(SPEED, "rebuild", {})
    node.starter.step()
    eventually(lambda: not node.programs[0].is_alive(), what="the process ends")
    node.starter.step()
    assert "out of paper" in (newest(tasks).result or {})["detail"]


def test_a_program_that_cannot_be_started_fails_its_task(
    tasks: ProjectionTasks, engine: Engine, tmp_path: Path
) -> None:
    file = tmp_path / "a file"
    file.write_text("")
    node = Node(engine, file, FOREVER)
    tasks.request(SPEED, "rebuild", {})
    node.starter.step()
    assert newest(tasks).state == "failed"
    assert "cannot be started" in (newest(tasks).result or {})["detail"]


def test_a_cancelled_task_is_stopped(tasks: ProjectionTasks, engine: Engine, tmp_path: Path) -> None:
    node = Node(engine, tmp_path, FOREVER)
    number = tasks.request(SPEED, "rebuild", {}).task
    node.starter.step()
    tasks.cancel(number)
    node.starter.step()
    assert not node.programs[0].is_alive()
    assert newest(tasks).state == "cancelled"


def test_a_node_starts_no_task_for_another_fold(tasks: ProjectionTasks, engine: Engine, tmp_path: Path) -> None:
    old = Node(engine, tmp_path, FOREVER, {**PROJECTIONS, "speed": replace(SPEED, fold=another_fold)})
    new = Node(engine, tmp_path, FOREVER)
    tasks.request(SPEED, "rebuild", {})
    old.starter.step()
    assert (old.programs, newest(tasks).state) == ([], "requested")
    new.starter.step()
    assert newest(tasks).state == "running"
    new.starter.stop()


def test_the_process_of_a_task_that_another_node_has_closed_is_stopped_and_the_next_task_starts(
    tasks: ProjectionTasks, engine: Engine, tmp_path: Path
) -> None:
    node = Node(engine, tmp_path, FOREVER)
    number = tasks.request(SPEED, "rebuild", {}).task
    node.starter.step()
    tasks.end(number, TaskState.FAILED, {"detail": "its process ended"})
    tasks.request(ANALYTICS, "rebuild", {})
    node.starter.step()
    assert not node.programs[0].is_alive()
    assert (detail(tasks), newest(tasks, "analytics").state) == ("its process ended", "running")
    node.starter.stop()


def test_a_task_whose_claim_was_not_answered_is_started(tasks: ProjectionTasks, engine: Engine, tmp_path: Path) -> None:
    node = Node(engine, tmp_path, FOREVER)
    number = tasks.request(SPEED, "rebuild", {}).task
    tasks.claim(node.instance, {"speed": newest(tasks).fold_digest})
    node.starter.step()
    assert [one.is_alive() for one in node.programs] == [True]
    tasks.cancel(number)
    node.starter.step()
    assert newest(tasks).state == "cancelled"


def test_a_cancel_is_recorded_as_such_if_postgres_is_unavailable_first(
    tasks: ProjectionTasks, engine: Engine, tmp_path: Path
) -> None:
    node = Node(engine, tmp_path, FOREVER, tasks=LostEnds(engine))
    number = tasks.request(SPEED, "rebuild", {}).task
    node.starter.step()
    tasks.cancel(number)
    with pytest.raises(PortUnavailable):
        node.starter.step()
    assert (node.programs[0].is_alive(), newest(tasks).is_open) == (False, True)
    node.starter.step()
    assert newest(tasks).state == "cancelled"


@pytest.mark.parametrize(
    ("kind", "switched", "expected"),
    [
        ("rebuild", False, "generation 2 is filling and kept; another rebuild resumes it"),
        ("switch", False, "readers still follow generation 1; request it again"),
        ("switch", True, "readers follow generation 2"),
    ],
)
def test_the_end_of_a_killed_task_says_what_the_generations_show(
    tasks: ProjectionTasks, engine: Engine, tmp_path: Path, kind: TaskKind, switched: bool, expected: str
) -> None:
    generations = PostgresGenerations(engine)
    generations.first(SPEED)
    new = generations.begin(SPEED)
    node = Node(engine, tmp_path, FOREVER)
    tasks.request(SPEED, kind, {"generation": 2})
    node.starter.step()
    if switched:
        with generations.switching(generations.all("speed")[0], new):
            pass
    node.programs[0].stop()
    node.starter.step()
    assert newest(tasks).state == "failed"
    assert expected in detail(tasks)


def test_a_nul_in_the_log_does_not_keep_a_task_open(tasks: ProjectionTasks, engine: Engine, tmp_path: Path) -> None:
    node = Node(engine, tmp_path, (sys.executable, "-c", "import sys; sys.exit('ERROR a\\0b\\x1b[31m')"))
    tasks.request(SPEED, "rebuild", {})
    node.starter.step()
    eventually(lambda: not node.programs[0].is_alive(), what="the process ends")
    node.starter.step()
    assert newest(tasks).state == "failed"
    assert "ERROR a\ufffdb\ufffd[31m" in detail(tasks)


def test_an_unexpected_error_is_logged_once_and_does_not_end_the_starter(
    tasks: ProjectionTasks, engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("by a fault of the code")

    node = Node(engine, tmp_path, FOREVER)
    node.before_start = fail
    tasks.request(SPEED, "rebuild", {})
    for _ in range(3):
        node.starter.poll()
    (logged,) = [one for one in caplog.records if one.exc_info]
    assert "cannot be started now" in logged.message
    node.before_start = lambda: None
    node.starter.poll()
    assert [one.is_alive() for one in node.programs] == [True]
    node.starter.stop()
