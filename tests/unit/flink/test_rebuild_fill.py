"""How a rebuild's shards are spread over subtasks, and how its driver waits for the job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.errors import UserError
from infrastructure.flink.client import FlinkClient
from infrastructure.flink.rebuild_fill import FoldOnFlink, shard_parts
from infrastructure.observability.flink_cluster import FlinkCluster
from tests.support.servers.fake_flink import FakeFlink, fake_flink
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


def a_fill(flink: FakeFlink, folder: Path, *states: str) -> FoldOnFlink:
    """The fill of a job that has one of ``states`` after the other."""
    left = list(states)

    def advance(_seconds: float = 0.0) -> None:
        flink.answers[f"/jobs/{JOB}"] = {"state": left.pop(0)}

    advance()
    client = FlinkClient(an_environment(folder, f"Job has been submitted with JobID {JOB}"), flink.url, folder)
    return FoldOnFlink(client, FlinkCluster(flink.url), {}, "speed", 2, advance)


def test_the_driver_shows_progress_until_the_job_has_finished(flink: FakeFlink, tmp_path: Path) -> None:
    ticks: list[int] = []
    a_fill(flink, tmp_path, "CREATED", "RUNNING", "FINISHED").fill(2, {0: 5}, lambda: ticks.append(1))
    assert len(ticks) == 2
    assert flink.sent == []


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
