"""How a rebuild's shards are spread over subtasks, and how its driver waits for the job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.errors import UserError
from infrastructure.flink.client import FlinkClient
from infrastructure.flink.rebuild_fill import FoldOnFlink, shard_parts
from infrastructure.observability.flink_cluster import FlinkCluster
from tests.support.servers.fake_flink import FakeFlink, fake_flink, listed_job
from tests.unit.flink.test_client import an_environment

JOB = "a" * 32


@given(st.dictionaries(st.integers(0, 63), st.integers(0, 1_000), max_size=64), st.integers(1, 80))
def test_every_shard_is_in_one_part_and_no_part_is_empty(targets: dict[int, int], parts: int) -> None:
    found = shard_parts(targets, parts)
    assert len(found) == min(parts, len(targets))
    assert all(found)
    assert sorted(shard for part in found for shard in part) == sorted(targets)
    assert {shard: target for part in found for shard, target in part.items()} == targets


def test_parts_have_nearly_the_same_number_of_events() -> None:
    sums = [sum(part.values()) for part in shard_parts({shard: 100 + shard for shard in range(64)}, 8)]
    assert max(sums) - min(sums) <= 63


@pytest.fixture
def flink() -> Iterator[FakeFlink]:
    with fake_flink() as one:
        yield one


def a_fill(
    flink: FakeFlink, folder: Path, *states: str, jobs: Sequence[dict[str, Any]] = (), notes: list[str] | None = None
) -> FoldOnFlink:
    """The fill of a job that has one of ``states`` after the other, on a cluster that has ``jobs``."""
    left = list(states)
    flink.answers["/jobs/overview"] = {"jobs": list(jobs)}

    def advance(_seconds: float = 0.0) -> None:
        flink.answers[f"/jobs/{JOB}"] = {"state": left.pop(0)}

    advance()
    client = FlinkClient(an_environment(folder, f"Job has been submitted with JobID {JOB}"), flink.url, folder)
    on_note = (lambda note: None) if notes is None else notes.append
    return FoldOnFlink(client, FlinkCluster(flink.url), {}, "speed", 2, advance, on_note)


def test_the_driver_shows_progress_until_the_job_has_finished(flink: FakeFlink, tmp_path: Path) -> None:
    ticks: list[int] = []
    a_fill(flink, tmp_path, "CREATED", "RUNNING", "FINISHED").fill(2, {0: 5}, lambda: ticks.append(1))
    assert len(ticks) == 2
    assert flink.sent == []


def test_the_job_of_a_rebuild_from_files_gets_their_folder(flink: FakeFlink, tmp_path: Path) -> None:
    environment = an_environment(tmp_path, f"Job has been submitted with JobID {JOB}")
    script = environment.script("flink")
    script.write_text(script.read_text().replace("cat <<", f'printf "%s\\n" "$@" >{tmp_path}/arguments\ncat <<'))
    flink.answers = {"/jobs/overview": {"jobs": []}, f"/jobs/{JOB}": {"state": "FINISHED"}}
    client = FlinkClient(environment, flink.url, tmp_path)
    FoldOnFlink(client, FlinkCluster(flink.url), {}, "speed", 2, export=tmp_path / "export").fill(
        2, {0: 5}, lambda: None
    )
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert arguments[-5:] == ["speed", "2", '{"0":5}', "--export", str(tmp_path / "export")]


@pytest.mark.parametrize("state", ["FAILED", "CANCELED"])
def test_a_job_that_ends_otherwise_ends_the_rebuild_which_can_be_run_again(
    flink: FakeFlink, tmp_path: Path, state: str
) -> None:
    with pytest.raises(UserError, match=f"generation 2 of speed is {state}.*run the command again"):
        a_fill(flink, tmp_path, "RUNNING", state).fill(2, {0: 5}, lambda: None)


def test_an_aborted_rebuild_cancels_its_job(flink: FakeFlink, tmp_path: Path) -> None:
    def abort() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        a_fill(flink, tmp_path, "RUNNING").fill(2, {0: 5}, abort)
    assert flink.sent == [("PATCH", f"/jobs/{JOB}?mode=cancel", None)]


def test_the_job_of_a_killed_rebuild_is_cancelled_and_ends_before_another_fills(
    flink: FakeFlink, tmp_path: Path
) -> None:
    # Given jobs that fill: one of a killed rebuild, one that has ended, and one of another projection
    killed, ended, other = "b" * 32, "c" * 32, "d" * 32
    jobs = [
        listed_job(killed, "rebuild speed@2", "RUNNING", 1),
        listed_job(ended, "rebuild speed@1", "FINISHED", 1),
        listed_job(other, "rebuild analytics@2", "RUNNING", 1),
    ]
    flink.answers[f"/jobs/{killed}"] = {"state": "CANCELED"}
    notes: list[str] = []
    # When the next rebuild fills
    a_fill(flink, tmp_path, "RUNNING", "FINISHED", jobs=jobs, notes=notes).fill(2, {0: 5}, lambda: None)
    # Then only the first is cancelled, with a note
    assert flink.sent == [("PATCH", f"/jobs/{killed}?mode=cancel", None)]
    assert [killed in note and "speed@2" in note for note in notes] == [True]


def test_a_job_that_a_killed_command_has_submitted_meanwhile_is_cancelled_before_the_fill_ends(
    flink: FakeFlink, tmp_path: Path
) -> None:
    """Flink's client needs seconds to submit a job: it may do so after its command was killed."""
    # Given a cluster that runs no job when the fill begins
    late = "b" * 32
    flink.answers[f"/jobs/{late}"] = {"state": "CANCELED"}
    fill = a_fill(flink, tmp_path, "RUNNING", "FINISHED")

    def appear() -> None:
        flink.answers["/jobs/overview"] = {"jobs": [listed_job(late, "rebuild speed@2", "RUNNING", 1)]}

    # When a job of the killed rebuild appears while it fills
    fill.fill(2, {0: 5}, appear)
    # Then that job was cancelled, and no other
    assert flink.sent == [("PATCH", f"/jobs/{late}?mode=cancel", None)]
