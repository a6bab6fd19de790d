"""Parts of a history and of a training set on a session cluster: the bytes are those of the processes here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infrastructure.errors import UserError
from infrastructure.flink.bounded_jobs import BoundedJobs
from infrastructure.flink.client import FlinkClient
from infrastructure.flink.environment import FOLDER, FlinkEnvironment
from infrastructure.flink.parts_on_flink import PartsOnFlink
from infrastructure.observability.flink_cluster import FlinkCluster
from infrastructure.operations.training_set import make_eta_set
from infrastructure.operations.training_set_request import resolve
from infrastructure.replay.parts_elsewhere import PartsOrder
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.eta_set import EtaRule
from infrastructure.training_sets.feature_history import HISTORY, make_history
from infrastructure.training_sets.history_shards import BoundHistory
from tests.support.servers.flink_cluster import JobManager, TaskManager
from tests.support.servers.servers import running
from tests.support.servers.serving import ROOT
from tests.support.worlds.parts_world import contents, history_of

LIMIT_S = 1_800
"""Flink's client takes 15 s of CPU a job, and a training set has three: minutes where ten processes want each core."""


@pytest.fixture(scope="module")
def taskmanager(
    log: Settings, jobmanager: JobManager, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TaskManager]:
    """Its Python workers have the address of the event store alone."""
    with running(TaskManager(tmp_path_factory.mktemp("task"), jobmanager, 1, log.environment())) as one:
        yield one


def a_history(settings: Settings) -> BoundHistory:
    return history_of(settings, "known", last_ms=2_000, every_ms=500)


@pytest.fixture(scope="module")
def elsewhere(log: Settings, jobmanager: JobManager, taskmanager: TaskManager) -> PartsOnFlink:
    client = FlinkClient(FlinkEnvironment(ROOT / FOLDER), jobmanager.url, ROOT)
    cluster = FlinkCluster(jobmanager.url, log.topic_prefix, timeout_s=10.0)
    return PartsOnFlink(BoundedJobs(client, cluster, log.environment(), parallelism=2))


@pytest.mark.timeout(LIMIT_S)
def test_a_history_has_every_byte_of_the_one_made_here(log: Settings, elsewhere: PartsOnFlink, tmp_path: Path) -> None:
    history, shown = a_history(log), list[int]()
    made = make_history(
        log, history, tmp_path / "there.parquet", 1, lambda done, of: shown.append(done), elsewhere=elsewhere
    )
    assert made == make_history(log, history, tmp_path / "here.parquet", 1, lambda done, of: None)
    assert made.rows > 0
    assert (tmp_path / "there.parquet").read_bytes() == (tmp_path / "here.parquet").read_bytes()
    assert shown == sorted(shown)


@pytest.mark.timeout(LIMIT_S)
def test_a_training_set_whose_passes_run_there_has_every_byte_of_the_one_made_here(
    log: Settings, elsewhere: PartsOnFlink, tmp_path: Path
) -> None:
    request = resolve(log, EtaRule("every", every_ms=120_000), "known", None)
    stages: dict[str, int] = {}

    def show(stage: str, what: str, done: int, total: int) -> None:
        stages[stage] = done

    there = make_eta_set(log, request, tmp_path / "there", 1, show, elsewhere=elsewhere)
    assert there == make_eta_set(log, request, tmp_path / "here", 1, lambda *done: None)
    assert there.manifest.rows > 10
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert stages["orders"] + stages["riders"] == there.manifest.events


@pytest.mark.timeout(LIMIT_S)
def test_a_failed_job_says_why(elsewhere: PartsOnFlink, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is FAILED .*does not see the folder of the command"):
        elsewhere.make(PartsOrder(HISTORY, tmp_path / "elsewhere", 0, [1]), lambda: None)


def test_prometheus_scrapes_both_kinds_of_processes_on_loopback_alone(
    jobmanager: JobManager, taskmanager: TaskManager
) -> None:
    if not list(FlinkEnvironment(ROOT / FOLDER).home().glob("plugins/metrics-prometheus/bound-reporter.jar")):
        pytest.skip("the reporter is not compiled: install the JDK 17, not the JRE alone, then make flink")
    assert "flink_jobmanager_numRegisteredTaskManagers{" in jobmanager.metrics()
    assert "flink_taskmanager_Status_JVM_CPU_Load{" in taskmanager.metrics()
    addresses = {address for server in (jobmanager, taskmanager) for address, _ in server.listening()}
    assert addresses <= {"127.0.0.1", "::ffff:127.0.0.1"}
