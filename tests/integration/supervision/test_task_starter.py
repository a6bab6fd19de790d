"""``serve`` starts a process for each requested task, one at a time, and records how it ended if that did not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from signal import SIGKILL

import pytest

from infrastructure.embedded.service import Program, ServiceCommand
from infrastructure.observability.stage_reports import instance_of
from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.projection_tasks import ProjectionTask, ProjectionTasks, TaskState
from infrastructure.supervision.task_starter import TaskStarter
from tests.support.waiting import eventually

FOREVER = (sys.executable, "-c", "import time; time.sleep(3600)")
BROKEN = (sys.executable, "-c", "import sys; sys.exit('ERROR out of paper')")


class Node:
    """A starter whose tasks run the same command; ``programs`` are those that it has made."""

    def __init__(self, tasks: ProjectionTasks, folder: Path, command: Sequence[str]) -> None:
        self.programs: list[Program] = []
        self._folder = folder
        self._command = command
        self.starter = TaskStarter(tasks, self._program, instance_of(os.getpid()))

    def _program(self, task: int) -> Program:
        command = ServiceCommand("projection-task", [*self._command], dict(os.environ))
        self.programs.append(Program(command, self._folder, self._folder))
        return self.programs[-1]


@pytest.fixture
def tasks(postgres_url: str) -> Iterator[ProjectionTasks]:
    engine = reader_engine(postgres_url)
    yield ProjectionTasks(engine)
    engine.dispose()


def newest(tasks: ProjectionTasks, projection: str = "speed") -> ProjectionTask:
    return tasks.latest()[projection]


def test_one_task_runs_at_a_time_and_the_next_one_follows(tasks: ProjectionTasks, tmp_path: Path) -> None:
    node = Node(tasks, tmp_path, FOREVER)
    node.starter.step()
    assert node.programs == []
    first = tasks.request("speed", "rebuild", {}).task
    tasks.request("analytics", "rebuild", {})
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


def test_a_task_whose_process_is_killed_is_failed_and_says_what_to_do(tasks: ProjectionTasks, tmp_path: Path) -> None:
    node = Node(tasks, tmp_path, FOREVER)
    tasks.request("speed", "rebuild", {})
    node.starter.step()
    child = node.programs[0].child
    assert child is not None
    child.send(SIGKILL)
    child.wait(10.0)
    node.starter.step()
    assert newest(tasks).state == "failed"
    assert "request it again" in (newest(tasks).result or {})["detail"]


def test_a_task_that_fails_at_its_start_shows_the_last_line_of_its_log(tasks: ProjectionTasks, tmp_path: Path) -> None:
    node = Node(tasks, tmp_path, BROKEN)
    tasks.request("speed", "rebuild", {})
    node.starter.step()
    eventually(lambda: not node.programs[0].is_alive(), what="the process ends")
    node.starter.step()
    assert "out of paper" in (newest(tasks).result or {})["detail"]


def test_a_program_that_cannot_be_started_fails_its_task(tasks: ProjectionTasks, tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.write_text("")
    node = Node(tasks, file, FOREVER)
    tasks.request("speed", "rebuild", {})
    node.starter.step()
    assert newest(tasks).state == "failed"
    assert "cannot be started" in (newest(tasks).result or {})["detail"]


def test_a_cancelled_task_is_stopped(tasks: ProjectionTasks, tmp_path: Path) -> None:
    node = Node(tasks, tmp_path, FOREVER)
    number = tasks.request("speed", "rebuild", {}).task
    node.starter.step()
    tasks.cancel(number)
    node.starter.step()
    assert not node.programs[0].is_alive()
    assert newest(tasks).state == "cancelled"
