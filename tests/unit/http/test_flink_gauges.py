"""What ``/metrics`` shows of the jobs of a Flink cluster, also after the cluster has lost one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from infrastructure.http.flink_gauges import FlinkGauges
from infrastructure.http.metrics_refresh import followed_here
from infrastructure.observability import metrics
from infrastructure.observability.flink_cluster import FlinkCluster
from infrastructure.observability.stage_reports import FLINK_DETAIL, StageProgress, StageReport
from tests.support.servers.fake_flink import FakeFlink, fake_flink, listed_job

JOB, NEXT = "a" * 32, "b" * 32


@pytest.fixture
def fake() -> Iterator[FakeFlink]:
    with fake_flink() as one:
        yield one


def lists(fake: FakeFlink, *states: tuple[str, str]) -> None:
    """The cluster lists these jobs of the projection speed: id and state."""
    jobs = [listed_job(job, "ridelog-speed", state, 1_000 + number) for number, (job, state) in enumerate(states)]
    fake.answers = {"/jobs/overview": {"jobs": jobs}}
    fake.answers |= {f"/jobs/{job}/checkpoints": {"latest": {}} for job, _ in states}
    fake.answers |= {f"/jobs/{job}/metrics": [] for job, _ in states}
    fake.answers |= {f"/jobs/{job}/exceptions": {"exceptionHistory": {"entries": []}} for job, _ in states}


def running() -> float:
    """The gauge of the job of speed."""
    (family,) = metrics.FLINK_JOB_RUNNING.collect()
    return next(sample.value for sample in family.samples if sample.labels == {"projection": "speed"})


def is_up() -> float:
    (family,) = metrics.FLINK_CLUSTER_UP.collect()
    return family.samples[0].value


@pytest.mark.parametrize(("state", "shown"), [("RUNNING", 1), ("CANCELED", 1), ("FAILED", 0), ("RESTARTING", 0)])
def test_a_listed_job_is_shown_by_its_state(fake: FakeFlink, state: str, shown: int) -> None:
    lists(fake, (JOB, state))
    FlinkGauges(FlinkCluster(fake.url)).refresh()
    assert (is_up(), running()) == (1, shown)


@pytest.mark.parametrize("state", ["RUNNING", "RESTARTING", "FAILED"])
def test_regression_a_job_that_the_cluster_has_lost_does_not_run(fake: FakeFlink, state: str) -> None:
    """Given a job, when its JobManager is started again and lists none, then the gauge is 0 until there is one."""
    gauges = FlinkGauges(FlinkCluster(fake.url))
    lists(fake, (JOB, state))
    gauges.refresh()
    lists(fake)
    for _ in range(3):
        gauges.refresh()
        assert (is_up(), running()) == (1, 0)
    lists(fake, (NEXT, "RUNNING"))
    gauges.refresh()
    assert running() == 1


def test_a_cancelled_job_that_is_listed_no_more_has_no_value(fake: FakeFlink) -> None:
    gauges = FlinkGauges(FlinkCluster(fake.url))
    lists(fake, (JOB, "CANCELED"))
    gauges.refresh()
    lists(fake)
    gauges.refresh()
    assert math.isnan(running())


def test_a_lost_job_whose_projection_a_runner_follows_has_no_value(fake: FakeFlink) -> None:
    gauges = FlinkGauges(FlinkCluster(fake.url))
    lists(fake, (JOB, "RUNNING"))
    gauges.refresh()
    lists(fake)
    gauges.refresh(followed_here=())
    assert running() == 0
    gauges.refresh(followed_here={"speed"})
    assert math.isnan(running())


def test_a_cluster_that_does_not_answer_is_shown_as_down_and_its_jobs_as_before(fake: FakeFlink) -> None:
    gauges = FlinkGauges(FlinkCluster(fake.url))
    lists(fake, (JOB, "RUNNING"))
    gauges.refresh()
    fake.answers = {}
    gauges.refresh()
    assert (is_up(), running()) == (0, 1)


def test_a_projection_is_followed_here_if_a_connected_report_is_no_worker_of_flink() -> None:
    def report(stage: str, *, on_flink: bool, age_s: float = 1.0) -> StageReport:
        return StageReport(stage, "here", age_s, StageProgress(detail=dict(FLINK_DETAIL) if on_flink else {}))

    reports = [
        report("speed", on_flink=False),
        report("analytics", on_flink=True),
        report("orders", on_flink=False, age_s=9_999.0),
        report("tailer", on_flink=False),
    ]
    assert followed_here(reports) == {"speed"}
