"""A job on Flink that reads a Kafka with TLS, by a login or a client's certificate, and shows no secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import httpx
import msgspec
import psutil
import pytest
from cryptography.hazmat.primitives import serialization

from domain.identifiers import SHARDS
from infrastructure.flink.client import FlinkClient, Submission
from infrastructure.flink.environment import FOLDER, FlinkEnvironment
from infrastructure.flink.statements import CLIENT_KEY, PASSWORD, USERNAME
from infrastructure.kafka.topics import ensure_topics
from infrastructure.observability.flink_cluster import FlinkCluster
from infrastructure.settings.settings import Settings
from projections.speed import SPEED
from tests.support.servers.flink_cluster import JobManager, TaskManager, missing_environment
from tests.support.servers.secured_kafka import PASSWORD as SECRET
from tests.support.servers.secured_kafka import USER, SecuredKafkaNode
from tests.support.servers.servers import running
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually
from tests.support.worlds.flink_world import PublishedLog

WITHIN_S = 100.0
LIMIT_S = 2_400
"""Two TaskManagers and a client that takes 15 s of CPU: minutes where ten processes want each core."""
LOGIN, CERTIFICATE = "a login", "a certificate"
WRONG_PASSWORD = "n0t-this-one"
UTF8 = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


class Secured(NamedTuple):
    """A Kafka that wants TLS, and a JobManager in ``folder`` whose environment has ``secrets``."""

    kafka: SecuredKafkaNode
    jobmanager: JobManager
    secrets: Mapping[str, str]
    folder: Path

    def bootstrap(self, way: str) -> str:
        authority, certificate, key = self.kafka.files
        if way == CERTIFICATE:
            return f"ssl://{self.kafka.mutual}?cafile={authority}&certfile={certificate}&keyfile={key}"
        login = f"{USER}:{quote(SECRET, safe='')}"
        return f"sasl_ssl://{login}@{self.kafka.sasl}?mechanism=SCRAM-SHA-256&cafile={authority}"

    def hidden(self) -> list[str]:
        """Parts of the secrets that any way to write them has: in Beam's, other letters than ASCII are numbers."""
        return [SECRET.partition("ö")[0], quote(SECRET, safe=""), *self.secrets[CLIENT_KEY].splitlines()[1:-1]]


def pkcs8(key: Path) -> str:
    """The key as Java reads it."""
    return (
        serialization.load_pem_private_key(key.read_bytes(), None)
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path) -> Iterator[Secured]:
    if (lacking := missing_environment()) is not None:
        pytest.skip(lacking)
    folder = tmp_path_factory.mktemp("secured")
    with running(SecuredKafkaNode(tmp_path_factory.mktemp("kafka") / "kafka", kafka_jars)) as node:
        node.create_user()
        secrets = {USERNAME: USER, PASSWORD: SECRET, CLIENT_KEY: pkcs8(node.files.key), **UTF8}
        with running(JobManager(folder, settings=secrets)) as jobmanager:
            yield Secured(node, jobmanager, secrets, folder)


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize(
    ("way", "wrong", "shown"),
    [(LOGIN, {PASSWORD: WRONG_PASSWORD}, "SaslAuthenticationException"), (CERTIFICATE, {CLIENT_KEY: ""}, CLIENT_KEY)],
    ids=["login", "certificate"],
)
def test_a_job_reads_a_secured_kafka_and_says_what_a_wrong_setting_is(
    settings: Settings, secured: Secured, way: str, wrong: Mapping[str, str], shown: str
) -> None:
    # Given a log in a Kafka that wants TLS, and a cluster whose TaskManager has a wrong secret
    url = secured.jobmanager.url
    one = msgspec.structs.replace(
        settings, kafka_bootstrap=secured.bootstrap(way), flink_url=url, flink_checkpoint_ms=2_000
    )
    ensure_topics(one)
    log = PublishedLog(one, riders=50)
    log.backends.generations.first(SPEED)
    log.publish(1_000)
    cluster = FlinkCluster(url, settings.topic_prefix, timeout_s=10.0)
    right = {**one.environment(), **secured.secrets}
    first, second = (1, 2) if way == LOGIN else (3, 4)
    with running(TaskManager(secured.folder, secured.jobmanager, first, {**right, **wrong})):
        # When a job follows the topic
        client = FlinkClient(FlinkEnvironment(ROOT / FOLDER), url, ROOT)
        job_id = client.submit(Submission(SPEED.name, 1), one.environment())
        # Then the cluster's answer names the variable to check
        reason = eventually(lambda: reason_of(cluster), within_s=WITHIN_S, what="the job says why it does not run")
        assert shown in reason
        assert "KAFKA_CLIENT_KEY" in reason or "KAFKA_PASSWORD" in reason
        assert not any(part in reason for part in (*secured.hidden(), WRONG_PASSWORD))
    # And when a TaskManager has the right one, the job goes on by itself
    with running(TaskManager(secured.folder, secured.jobmanager, second, right)) as taskmanager:
        eventually(lambda: log.shards_held(SPEED.name) == SHARDS, within_s=WITHIN_S, what="the job holds all shards")
        log.publish(1_000)
        eventually(lambda: log.behind(SPEED) == 0, within_s=WITHIN_S, what="the job folds new records")
        # Then records come from Kafka, not all from the event store, and every state is the pure fold's
        eventually(lambda: from_kafka(log) > 0, within_s=WITHIN_S, what="the worker reports records from Kafka")
        assert log.stored(SPEED) == log.folded(SPEED)
        # And Prometheus gets the counter of the subtask, where the reporter is compiled
        scraped = taskmanager.metrics()
        assert not scraped or "flink_taskmanager_job_task_operator_applied{" in scraped
        # And neither the REST interface nor a command line shows a secret
        visible = [
            *rest_answers(url, job_id, taskmanager.name),
            *command_lines(secured.jobmanager),
            *command_lines(taskmanager),
        ]
        assert not any(part in text for text in visible for part in secured.hidden())
        eventually(lambda: has_checkpoint(cluster), within_s=WITHIN_S, what="a checkpoint is complete")
        cluster.cancel(job_id)
        eventually(lambda: ended(cluster), within_s=WITHIN_S, what="the job is cancelled")
    log.close()
    # And no log or checkpoint has one, nor the environment of a TaskManager: it has the addresses of all stores
    files = {
        path: path.read_bytes() for path in secured.folder.rglob("*") if path.is_file() and "working" not in path.parts
    }
    assert {"flink-jobmanager.log", f"flink-taskmanager-{second}.log", "_metadata"} <= {path.name for path in files}
    secrets = [part.encode() for part in (*secured.hidden(), WRONG_PASSWORD, "RIDELOG_POSTGRES_URL")]
    assert [path.name for path, content in files.items() if any(part in content for part in secrets)] == []


def reason_of(cluster: FlinkCluster) -> str:
    job = cluster.job(SPEED.name)
    return "" if job is None else job.reason


def has_checkpoint(cluster: FlinkCluster) -> bool:
    job = cluster.job(SPEED.name)
    return job is not None and bool(job.checkpoint)


def ended(cluster: FlinkCluster) -> bool:
    job = cluster.job(SPEED.name)
    return job is not None and job.state == "CANCELED"


def from_kafka(log: PublishedLog) -> int:
    """Events that live workers applied and did not fill from the event store."""
    return log.counted(SPEED.name, "applied") - log.counted(SPEED.name, "filled")


def rest_answers(url: str, job_id: str, taskmanager: str) -> Iterator[str]:
    """What Flink's page shows of the cluster's configuration and of the job."""
    with httpx.Client(base_url=url, timeout=30.0) as client:
        for path in (
            "/jobmanager/config",
            "/jobmanager/environment",
            f"/taskmanagers/{taskmanager}",
            "/jobs/overview",
            f"/jobs/{job_id}",
            f"/jobs/{job_id}/config",
            f"/jobs/{job_id}/plan",
            f"/jobs/{job_id}/checkpoints/config",
            f"/jobs/{job_id}/exceptions",
        ):
            yield client.get(path).raise_for_status().text


def command_lines(server: JobManager | TaskManager) -> list[str]:
    """The command lines of the JVM and of its Python workers."""
    parent = psutil.Process(server.pid)
    return [" ".join(one.cmdline()) for one in (parent, *parent.children(recursive=True))]
