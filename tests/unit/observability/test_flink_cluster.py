"""What is read from a cluster's REST interface, and what becomes of a cluster that is none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine

from infrastructure.http.health import OK, Check, StageHealth, ready_checks
from infrastructure.observability.flink_cluster import ClusterUnavailable, FlinkCluster
from projections.catalogue import PROJECTIONS
from tests.support.servers.fake_flink import FakeFlink, fake_flink, listed_job

NOW_S = 1_790_000_100.0
RUNNING, FAILED, OTHER = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def fake() -> Iterator[FakeFlink]:
    with fake_flink() as one:
        yield one


def cluster_of(fake: FakeFlink, prefix: str = "") -> FlinkCluster:
    return FlinkCluster(fake.url, prefix, clock=lambda: NOW_S)


def with_a_running_job(fake: FakeFlink) -> None:
    fake.answers = {
        "/jobs/overview": {
            "jobs": [
                # A job that failed later than the running one started is no newer than it.
                listed_job(RUNNING, "ridelog-speed", "RUNNING", 1_000),
                listed_job(FAILED, "ridelog-speed", "FAILED", 2_000),
                listed_job(OTHER, "somebody-else", "RUNNING", 3_000),
            ]
        },
        f"/jobs/{RUNNING}/checkpoints": {
            "latest": {"completed": {"latest_ack_timestamp": int(NOW_S * 1000) - 7_000, "external_path": "s3://c/1"}}
        },
        f"/jobs/{RUNNING}/metrics": [{"id": "numRestarts", "value": "3"}],
    }


def failed_by(trace: str) -> dict[str, Any]:
    return {"exceptionHistory": {"entries": [{"stacktrace": trace}, {"stacktrace": "an earlier one"}]}}


def test_the_running_job_of_a_projection_has_restarts_and_the_age_of_its_checkpoint(fake: FakeFlink) -> None:
    with_a_running_job(fake)
    (job,) = cluster_of(fake).jobs()
    assert (job.projection, job.job_id, job.restarts, job.checkpoint) == ("speed", RUNNING, 3, "s3://c/1")
    assert job.checkpoint_age_s == pytest.approx(7.0)


def test_a_job_without_a_checkpoint_and_an_ended_one_are_described_too(fake: FakeFlink) -> None:
    fake.answers = {
        "/jobs/overview": {
            "jobs": [
                listed_job(RUNNING, "ridelog-speed", "RESTARTING", 1_000),
                listed_job(FAILED, "ridelog-analytics", "FAILED", 2_000),
            ]
        },
        f"/jobs/{RUNNING}/checkpoints": {"latest": {"completed": None}},
        f"/jobs/{RUNNING}/metrics": [],
        f"/jobs/{RUNNING}/exceptions": failed_by("org.apache.A: x\nCaused by: java.net.ConnectException: refused"),
        f"/jobs/{FAILED}/exceptions": {"exceptionHistory": {"entries": []}},
    }
    found = {job.projection: job for job in cluster_of(fake).jobs()}
    assert (found["speed"].runs, found["speed"].checkpoint_age_s) == (False, None)
    assert (found["analytics"].state, found["analytics"].reason) == ("FAILED", "")
    assert found["speed"].reason == "java.net.ConnectException: refused"


def test_regression_readiness_needs_one_request_however_many_jobs_there_are(fake: FakeFlink) -> None:
    """Eleven jobs were 23 requests, each of which loaded certificates: a busy node was taken out after 3 s."""
    fake.answers = {
        "/jobs/overview": {
            "jobs": [listed_job(f"{n:032x}", f"ridelog-{name}", "RUNNING", 1) for n, name in enumerate(PROJECTIONS)]
        }
    }
    cluster = cluster_of(fake)
    assert [job.projection for job in cluster.states()] == sorted(PROJECTIONS)
    checks = ready_checks(create_engine("postgresql+psycopg://"), None, (), flink=cluster)
    assert asyncio.run(_result(checks["flink"])) == OK
    with pytest.raises(ClusterUnavailable, match="answered 404 to /jobs/"):
        cluster.jobs()


async def _result(check: Check) -> StageHealth:
    return await check()


def test_installations_with_other_topics_share_a_cluster(fake: FakeFlink) -> None:
    with_a_running_job(fake)
    assert cluster_of(fake, "berlin.").jobs() == []


@pytest.mark.parametrize("prefix", ["", "a-"])
def test_regression_a_failed_job_of_another_installation_is_not_this_ones(fake: FakeFlink, prefix: str) -> None:
    """Its prefix starts like this one's: it answered 503 at `/health/ready` on every node."""
    fake.answers = {
        "/jobs/overview": {
            "jobs": [
                listed_job(FAILED, f"ridelog-{prefix}b-speed", "FAILED", 1_000),
                listed_job(OTHER, f"rebuild {prefix}b-speed@2", "RUNNING", 1_000),
                listed_job(RUNNING, f"rebuild {prefix}speed@3", "RUNNING", 1_000),
            ]
        }
    }
    cluster = cluster_of(fake, prefix)
    assert cluster.jobs() == []
    assert [job.generation for job in cluster.fills()] == ["speed@3"]


def test_a_savepoint_returns_its_place_and_a_failed_one_its_cause(fake: FakeFlink) -> None:
    path = f"/jobs/{RUNNING}/savepoints/r1"
    fake.answers[path] = {"status": {"id": "COMPLETED"}, "operation": {"location": "s3://saved/1"}}
    assert cluster_of(fake).savepoint(RUNNING, "s3://saved") == "s3://saved/1"
    assert fake.sent[0][2] == {"cancel-job": False, "target-directory": "s3://saved"}
    fake.answers[path] = {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": {"class": "NotRunning"}}}
    with pytest.raises(ClusterUnavailable, match="NotRunning"):
        cluster_of(fake).savepoint(RUNNING, None)


def test_a_savepoint_in_progress_has_no_operation_yet(fake: FakeFlink) -> None:
    path = f"/jobs/{RUNNING}/savepoints/r1"
    fake.answers[path] = {"status": {"id": "IN_PROGRESS"}, "operation": None}

    def complete() -> None:
        fake.answers[path] = {"status": {"id": "COMPLETED"}, "operation": {"location": "s3://saved/1"}}

    threading.Timer(0.1, complete).start()
    assert cluster_of(fake).savepoint(RUNNING, None) == "s3://saved/1"


def test_a_job_is_cancelled_by_its_id(fake: FakeFlink) -> None:
    cluster_of(fake).cancel(RUNNING)
    assert fake.sent == [("PATCH", f"/jobs/{RUNNING}?mode=cancel", None)]


def test_what_is_no_cluster_is_an_error_without_passwords(fake: FakeFlink) -> None:
    with pytest.raises(ClusterUnavailable, match="answered 404"):
        cluster_of(fake).jobs()
    fake.answers["/jobs/overview"] = {"hello": "world"}
    with pytest.raises(ClusterUnavailable, match="not Flink's"):
        cluster_of(fake).jobs()
    with pytest.raises(ClusterUnavailable) as raised:
        FlinkCluster("http://user:secret@127.0.0.1:1").jobs()
    assert "secret" not in str(raised.value)
