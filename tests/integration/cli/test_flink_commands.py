"""``flink``: what a person reads of the cluster, and what is refused before a job is started."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infrastructure.settings.settings import Settings
from tests.support.servers.fake_flink import FakeFlink, fake_flink, listed_job
from tests.support.worlds.command_line import run_here

JOB = "a" * 32


@pytest.fixture
def flink() -> Iterator[FakeFlink]:
    with fake_flink() as one:
        yield one


def with_a_job(flink: FakeFlink, state: str) -> None:
    flink.answers = {
        "/jobs/overview": {"jobs": [listed_job(JOB, "ridelog-speed", state, 1)]},
        f"/jobs/{JOB}/checkpoints": {"latest": {"completed": None}},
        f"/jobs/{JOB}/metrics": [{"id": "numRestarts", "value": "1"}],
    }


def run(flink: FakeFlink, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"RIDELOG_FLINK_URL": flink.url, "RIDELOG_DATA_DIR": str(folder)}
    return run_here(["flink", *arguments], env, folder)


def test_status_shows_each_job_and_exits_with_1_if_one_does_not_run(flink: FakeFlink, tmp_path: Path) -> None:
    with_a_job(flink, "RUNNING")
    shown = run(flink, tmp_path, "status")
    assert (shown.returncode, shown.stdout) == (0, f"speed: RUNNING, 1 restarts, no checkpoint, job {JOB}\n")
    (job,) = json.loads(run(flink, tmp_path, "status", "--json").stdout)
    assert (job["projection"], job["state"]) == ("speed", "RUNNING")
    with_a_job(flink, "RESTARTING")
    flink.answers[f"/jobs/{JOB}/exceptions"] = {"exceptionHistory": {"entries": [{"stacktrace": "x.Y: it is full"}]}}
    shown = run(flink, tmp_path, "status")
    assert (shown.returncode, shown.stdout.splitlines()[-1]) == (1, "  x.Y: it is full")


def test_status_shows_a_job_that_fills_a_generation_and_what_ends_it(flink: FakeFlink, tmp_path: Path) -> None:
    with_a_job(flink, "RUNNING")
    flink.answers["/jobs/overview"]["jobs"].append(listed_job("b" * 32, "rebuild speed@2", "RUNNING", 2))
    shown = run(flink, tmp_path, "status")
    assert shown.returncode == 0
    assert f"rebuild of speed@2: RUNNING, job {'b' * 32}" in shown.stdout
    assert "`rebuild-projection speed --engine flink` cancels it" in shown.stdout


def test_status_shows_a_job_that_makes_parts_of_a_file(flink: FakeFlink, tmp_path: Path) -> None:
    with_a_job(flink, "RUNNING")
    flink.answers["/jobs/overview"]["jobs"].append(listed_job("b" * 32, "parts /shared/a.parquet.parts", "RUNNING", 2))
    shown = run(flink, tmp_path, "status")
    assert shown.returncode == 0
    assert f"parts in /shared/a.parquet.parts: RUNNING, job {'b' * 32}" in shown.stdout


def test_cancel_ends_the_job_of_the_projection(flink: FakeFlink, tmp_path: Path) -> None:
    with_a_job(flink, "RUNNING")
    assert run(flink, tmp_path, "cancel", "speed").stdout == "speed: cancelled\n"
    assert flink.sent == [("PATCH", f"/jobs/{JOB}?mode=cancel", None)]
    missing = run(flink, tmp_path, "cancel", "analytics")
    assert (missing.returncode, "no job of analytics runs" in missing.stderr) == (1, True)


def test_savepoint_prints_where_it_is(flink: FakeFlink, tmp_path: Path) -> None:
    with_a_job(flink, "RUNNING")
    flink.answers[f"/jobs/{JOB}/savepoints/r1"] = {
        "status": {"id": "COMPLETED"},
        "operation": {"location": "s3://saved/1"},
    }
    assert run(flink, tmp_path, "savepoint", "speed", "--folder", "s3://saved").stdout == "speed: s3://saved/1\n"


@pytest.mark.parametrize(("state", "shown"), [("RUNNING", "runs"), ("RESTARTING", "is RESTARTING")])
def test_regression_a_projection_whose_job_runs_or_restarts_is_not_submitted_again(
    flink: FakeFlink, tmp_path: Path, settings: Settings, state: str, shown: str
) -> None:
    """While the store was unavailable, the job was RESTARTING, and a second one was started beside it."""
    with_a_job(flink, state)
    env = settings.environment() | {"RIDELOG_FLINK_URL": flink.url, "RIDELOG_TOPIC_PREFIX": ""}
    refused = run_here(["flink", "submit", "speed"], env, tmp_path)
    assert refused.returncode == 1
    assert f"the job {JOB} of speed {shown} already" in refused.stderr


def test_without_a_cluster_or_with_an_unknown_projection_a_person_reads_what_to_do(
    flink: FakeFlink, tmp_path: Path
) -> None:
    nowhere = run_here(["flink", "status"], {"RIDELOG_DATA_DIR": str(tmp_path)}, tmp_path)
    assert (nowhere.returncode, "RIDELOG_FLINK_URL" in nowhere.stderr) == (1, True)
    unknown = run(flink, tmp_path, "submit", "spede")
    assert (unknown.returncode, "there is no projection 'spede'" in unknown.stderr) == (1, True)
