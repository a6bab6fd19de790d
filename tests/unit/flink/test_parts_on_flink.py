"""How parts of a file are spread over the subtasks of a job, and what becomes of a job whose command was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.errors import UserError
from infrastructure.flink.bounded_jobs import MAX_UNANSWERED_POLLS, BoundedJobs
from infrastructure.flink.client import FlinkClient
from infrastructure.flink.job_options import parts_name
from infrastructure.flink.parts_on_flink import PartsOnFlink
from infrastructure.observability.flink_cluster import ClusterUnavailable, FlinkCluster
from infrastructure.replay.parts_elsewhere import FinishedParts, PartsOrder, share_of
from infrastructure.settings.settings import Settings
from tests.support.servers.fake_flink import FakeFlink, fake_flink, listed_job
from tests.unit.flink.test_client import an_environment

JOB = "a" * 32
TRACE = (
    "java.lang.RuntimeException: Error received from SDK harness: Traceback (most recent call last):\n"
    '  File "parts_function.py", line 50, in map\n'
    "infrastructure.errors.UserError: this machine does not see the folder\n\n"
    "\tat java.base/java.util.concurrent.CompletableFuture.reportGet(CompletableFuture.java:396)\n"
)


@given(st.lists(st.integers(0, 500), unique=True), st.integers(1, 70), st.booleans())
def test_every_part_is_in_one_share_and_a_range_stays_together(parts: list[int], workers: int, in_order: bool) -> None:
    shares = [share_of(parts, number, workers, in_order=in_order) for number in range(workers)]
    assert sorted(part for share in shares for part in share) == sorted(parts)
    if in_order:
        assert [part for share in shares for part in share] == parts
    else:
        sizes = [len(share) for share in shares]
        assert max(sizes) - min(sizes) <= 1


def test_a_finished_part_is_counted_once(tmp_path: Path) -> None:
    results = [tmp_path / f"{number}.json" for number in range(3)]
    finished = FinishedParts(results, "events")
    assert finished.count_new() == 0
    results[1].write_text('{"events": 7}')
    assert [finished.count_new(), finished.count_new()] == [7, 0]
    for path in results:
        path.write_text('{"events": 2}')
    assert finished.count_new() == 4


@pytest.fixture
def flink() -> Iterator[FakeFlink]:
    with fake_flink() as one:
        yield one


class Started:
    """The driver of a job that has one of ``states`` after the other; ``command`` is what Flink's client was given."""

    def __init__(self, flink: FakeFlink, folder: Path, *states: str | None, notes: list[str] | None = None) -> None:
        self._flink = flink
        self._left = list(states)
        environment = an_environment(folder, f"Job has been submitted with JobID {JOB}")
        script, self._arguments = environment.script("flink"), folder / "arguments"
        script.write_text(script.read_text().replace("cat <<", f'printf "%s\\n" "$@" >{self._arguments}\ncat <<'))
        flink.answers.setdefault("/jobs/overview", {"jobs": []})
        self.advance()
        jobs = BoundedJobs(
            FlinkClient(environment, flink.url, folder),
            FlinkCluster(flink.url, "berlin."),
            {},
            3,
            self.advance,
            (lambda note: None) if notes is None else notes.append,
        )
        self.parts = PartsOnFlink(jobs)

    def advance(self, _seconds: float = 0.0) -> None:
        state = self._left.pop(0)
        self._flink.answers[f"/jobs/{JOB}"] = None if state is None else {"state": state}

    @property
    def command(self) -> list[str]:
        return self._arguments.read_text().splitlines()


def order(folder: Path, parts: Sequence[int], *, in_order: bool = False) -> PartsOrder:
    return PartsOrder("feature-history", folder, 2, parts, in_order)


def test_the_job_gets_the_folder_the_pass_and_a_share_for_each_subtask(flink: FakeFlink, tmp_path: Path) -> None:
    started = Started(flink, tmp_path, "CREATED", "RUNNING", "FINISHED")
    ticks: list[int] = []
    started.parts.make(order(tmp_path / "out.parts", [4, 5, 6, 9]), lambda: ticks.append(1))
    assert started.command[-4:-1] == ["feature-history", str(tmp_path / "out.parts"), "2"]
    assert json.loads(started.command[-1]) == [[4, 9], [5], [6]]
    # The last tick counts what was finished after the last poll.
    assert len(ticks) == 3
    assert flink.sent == []


def test_two_parts_for_three_subtasks_are_two_elements(flink: FakeFlink, tmp_path: Path) -> None:
    started = Started(flink, tmp_path, "FINISHED")
    started.parts.make(order(tmp_path, [4, 5], in_order=True), lambda: None)
    assert json.loads(started.command[-1]) == [[4], [5]]


def test_a_failed_job_says_why_and_that_the_command_may_be_run_again(flink: FakeFlink, tmp_path: Path) -> None:
    flink.answers[f"/jobs/{JOB}/exceptions"] = {"exceptionHistory": {"entries": [{"stacktrace": TRACE}]}}
    started = Started(flink, tmp_path, "RUNNING", "FAILED")
    with pytest.raises(UserError, match=r"is FAILED \(.*does not see the folder\).*run the command again"):
        started.parts.make(order(tmp_path, [1]), lambda: None)


def test_a_restart_of_the_job_is_a_note_with_its_reason_and_the_command_goes_on(
    flink: FakeFlink, tmp_path: Path
) -> None:
    lost = (
        "org.apache.flink.util.FlinkException: The TaskExecutor is shutting down.\n\tat org.apache.flink.A.b(A.java)\n"
    )
    flink.answers[f"/jobs/{JOB}/exceptions"] = {"exceptionHistory": {"entries": [{"stacktrace": lost}]}}
    notes: list[str] = []
    states = ["RUNNING", "RESTARTING", "RESTARTING", None, "RESTARTING", "RUNNING", "RESTARTING", "FINISHED"]
    started = Started(flink, tmp_path, *states, notes=notes)
    started.parts.make(order(tmp_path, [1]), lambda: None)
    # Two restarts are two notes, however often each is seen
    assert [note.startswith(f"Flink restarts the job {JOB} that makes parts in {tmp_path}") for note in notes] == [
        True,
        True,
    ]
    assert "The TaskExecutor is shutting down" in notes[0]


def test_a_cluster_that_is_silent_for_some_polls_ends_nothing(flink: FakeFlink, tmp_path: Path) -> None:
    silent = [None] * MAX_UNANSWERED_POLLS
    started = Started(flink, tmp_path, "RUNNING", *silent, "RUNNING", *silent, "FINISHED")
    started.parts.make(order(tmp_path, [1]), lambda: None)
    assert flink.sent == []


def test_a_cluster_that_stays_silent_ends_the_command(flink: FakeFlink, tmp_path: Path) -> None:
    started = Started(flink, tmp_path, "RUNNING", *[None] * (MAX_UNANSWERED_POLLS + 1))
    with pytest.raises(ClusterUnavailable, match="answered 404"):
        started.parts.make(order(tmp_path, [1]), lambda: None)


def test_the_job_of_a_killed_command_for_the_same_file_ends_first(flink: FakeFlink, tmp_path: Path) -> None:
    # Given jobs of a killed command for this file, of another file, and of another installation
    folder, killed = tmp_path / "out.parts", "b" * 32
    listed: list[dict[str, Any]] = [
        listed_job(killed, parts_name(Settings(topic_prefix="berlin."), str(folder)), "RUNNING", 1),
        listed_job("c" * 32, f"parts berlin.{folder}-2", "RUNNING", 1),
        listed_job("d" * 32, f"parts munich.{folder}", "RUNNING", 1),
        listed_job("e" * 32, f"parts berlin.{folder}", "FINISHED", 1),
    ]
    flink.answers["/jobs/overview"] = {"jobs": listed}
    flink.answers[f"/jobs/{killed}"] = {"state": "CANCELED"}
    notes: list[str] = []
    # When the command is run again
    Started(flink, tmp_path, "RUNNING", notes=notes).parts.claim(folder)
    # Then the first alone is cancelled, with a note
    assert flink.sent == [("PATCH", f"/jobs/{killed}?mode=cancel", None)]
    assert [killed in note for note in notes] == [True]
