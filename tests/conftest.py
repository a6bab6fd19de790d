"""Fixtures for every tier; a server starts only when the first test of the session asks for it."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from infrastructure.embedded.postgres import Postgres
from infrastructure.embedded.server import free_port
from infrastructure.embedded.tansu import Tansu
from infrastructure.embedded.valkey import Valkey
from infrastructure.settings.settings import Settings
from tests.support.faults.report import fault_runs
from tests.support.faults.table import record
from tests.support.reports import proof_report
from tests.support.reports.proofs import whole
from tests.support.servers import java
from tests.support.servers.apache_kafka import KafkaCluster
from tests.support.servers.memory_folder import memory_folder
from tests.support.servers.servers import (
    fresh_database,
    make_template,
    running,
    session_kafka,
    session_postgres,
)
from tests.support.servers.valkey_cluster import ValkeyCluster
from tests.support.worlds.concurrent_runs import LongestFirst, longest_first

# Time decides no test: other processes of the suite share the machine.
hypothesis_settings.register_profile("ridelog", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("ridelog")

_proofs: list[pytest.TestReport] = []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A worker of pytest-xdist keeps its files under a short name: a Unix socket's path holds 103 characters, and where
    it does not fit, the embedded servers listen on a port instead, which is another thing to test."""
    _hear_signals()
    _write_bytecode()
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        config.option.basetemp = str(Path(config.option.basetemp).with_name(worker["workerid"]))


def _hear_signals() -> None:
    """A shell has what runs in the background ignore SIGINT, ``nohup`` SIGHUP, and so would what tests send them to."""
    for number, action in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, action)


def _write_bytecode() -> None:
    """Some container images forbid it. Each process that a test starts would then compile all its modules."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        longest_first(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LongestFirst:
    return LongestFirst(config, log)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and "proof" in report.keywords:
        _proofs.append(report)


def pytest_sessionfinish() -> None:
    if whole() and _proofs:
        proof_report.write(_proofs)
        if runs := fault_runs(_proofs):
            record(runs)


@pytest.fixture(scope="session")
def servers_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's servers keep their data and logs."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def postgres_server(servers_dir: Path) -> Iterator[Postgres]:
    """The session's PostgreSQL, not migrated; a test may kill it, the next fixture starts it again."""
    with memory_folder(servers_dir) as folder, running(session_postgres(folder)) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(servers_dir: Path) -> Iterator[Valkey]:
    """The session's Valkey."""
    server = Valkey(servers_dir)
    with running(server):
        yield server


@pytest.fixture(scope="session")
def kafka_server(servers_dir: Path) -> Iterator[Tansu]:
    """The session's Kafka-compatible broker."""
    with running(session_kafka(servers_dir)) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_jars() -> Path:
    """Apache Kafka from Maven Central; skips, saying so, where Java or Maven is missing."""
    lacking = java.missing()
    if lacking is not None:
        pytest.skip(lacking)
    return java.jars("kafka")


@pytest.fixture(scope="module")
def apache_server(tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path) -> Iterator[KafkaCluster]:
    """Apache Kafka for the tests of one file, one broker: idle, it costs CPU, and few files need it."""
    with running(KafkaCluster(tmp_path_factory.mktemp("apache"), kafka_jars)) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: Postgres) -> Postgres:
    """The session's PostgreSQL with a migrated template database."""
    make_template(postgres_server)
    return postgres_server


@pytest.fixture
def postgres_url(migrated_postgres: Postgres) -> Iterator[str]:
    """URL of a migrated database of the test's own."""
    with fresh_database(migrated_postgres) as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """URL of a database of the test's own without any table."""
    with fresh_database(postgres_server, "template1") as url:
        yield url


@pytest.fixture
def redis_url(redis_server: Valkey) -> str:
    """URL of the session's Valkey, emptied."""
    redis_server.start()
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def redis_cluster(servers_dir: Path) -> Iterator[ValkeyCluster]:
    """The session's Redis Cluster."""
    with running(ValkeyCluster(servers_dir / "cluster")) as cluster:
        yield cluster


@pytest.fixture
def redis_cluster_url(redis_cluster: ValkeyCluster) -> str:
    """URL of the session's Redis Cluster, emptied."""
    redis_cluster.start()
    redis_cluster.flush()
    return redis_cluster.url


@pytest.fixture
def kafka_bootstrap(kafka_server: Tansu) -> str:
    """host:port of the session's broker; use ``topic_prefix`` to keep out of other tests' way."""
    kafka_server.start()
    return kafka_server.url


@pytest.fixture
def apache_bootstrap(apache_server: KafkaCluster) -> str:
    """host:port of the file's Apache Kafka; use ``topic_prefix`` to keep out of other tests' way."""
    apache_server.start()
    return apache_server.url


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics that no other test uses."""
    return f"t{uuid.uuid4().hex[:8]}."


@pytest.fixture
def settings(tmp_path: Path, postgres_url: str, redis_url: str, kafka_bootstrap: str, topic_prefix: str) -> Settings:
    """Settings wired to the session's servers, with names that no other test uses."""
    mark = uuid.uuid4().hex[:8]
    return Settings(
        data_dir=tmp_path,
        port=free_port(),
        postgres_url=postgres_url,
        redis_url=redis_url,
        kafka_bootstrap=kafka_bootstrap,
        topic_prefix=topic_prefix,
        slot_name=f"test_{mark}",
        publication_name=f"test_{mark}",
        consumer_group_prefix=f"test-{mark}",
    )
