"""The jobs of a Flink cluster, as ``status`` and ``/health/ready`` show them."""

from __future__ import annotations

import pytest

from infrastructure.observability.flink_cluster import FlinkJob
from infrastructure.status.flink_line import flink_line, flink_ready, unavailable_line


def job(state: str = "RUNNING", *, restarts: int = 0, age_s: float | None = 5.0) -> FlinkJob:
    return FlinkJob("speed", "0" * 32, state, 1_790_000_000_000, restarts, age_s)


def test_a_running_job_is_good_and_shows_its_restarts_and_checkpoint() -> None:
    line = flink_line([job(restarts=2)], 10.0)
    assert (line.state, line.advice) == ("speed running after 2 restarts, checkpoint 5 s ago", "")
    assert flink_ready([job(restarts=2)]) == "ok"


@pytest.mark.parametrize("state", ["FAILED", "RESTARTING", "FAILING", "INITIALIZING"])
def test_a_job_that_does_not_run_is_no_ready_stage(state: str) -> None:
    assert flink_ready([job(state)]) == f"the job of speed is {state}"
    assert not flink_line([job(state)], 10.0).good


def test_a_job_that_does_not_run_says_why() -> None:
    failed = job("RESTARTING")
    failed.reason = "Kafka rejects the login"
    line = flink_line([failed], 10.0)
    assert line.advice.startswith("the job of speed is RESTARTING (Kafka rejects the login): ")


def test_a_cancelled_job_and_a_cluster_without_jobs_are_no_fault() -> None:
    assert flink_ready([job("CANCELED")]) == flink_ready([]) == "ok"
    assert flink_line([job("CANCELED", age_s=None)], 10.0).good
    assert flink_line([], 10.0).good


@pytest.mark.parametrize(("age_s", "interval_s", "good"), [(60, 10, True), (61, 10, False), (61, 60, True)])
def test_an_overdue_checkpoint_is_shown_and_takes_no_node_out(age_s: float, interval_s: float, good: bool) -> None:
    assert flink_line([job(age_s=age_s)], interval_s).good is good
    assert flink_ready([job(age_s=age_s)]) == "ok"


def test_a_cluster_that_does_not_answer_is_shown_with_advice() -> None:
    line = unavailable_line("http://flink:8081 does not answer")
    assert not line.good
    assert "http://flink:8081" in line.state
