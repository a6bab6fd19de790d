"""Every Kafka library on every broker (one more broker is one more parameter), and every archive."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from infrastructure.embedded.tansu import Tansu
from tests.support.kafka.kafka_clients import (
    TANSU_SESSION_S,
    BatchingLibrary,
    Clients,
    Library,
    MemoryLibrary,
    clients,
    library,
)
from tests.support.ports_in_memory.kafka_broker import MemoryBroker
from tests.support.servers.apache_kafka import MIN_SESSION_S, KafkaCluster
from tests.support.servers.servers import running
from tests.support.worlds.archive_worlds import MemoryWorld, PostgresWorld, World, postgres_world

LIBRARIES = ["confluent", "kafka-python"]
BROKERS = {"kafka_bootstrap": TANSU_SESSION_S, "apache_bootstrap": MIN_SESSION_S}
"""Fixture that gives a bootstrap address -> the shortest session that its broker takes well."""
MEMORY, GATHERED = ("memory", "in process"), ("gathered", "in process")
IN_PROCESS = {MEMORY: MemoryLibrary, GATHERED: BatchingLibrary}


@pytest.fixture(params=[*IN_PROCESS, *product(LIBRARIES, BROKERS)], ids="-".join)
def kafka(request: pytest.FixtureRequest, topic_prefix: str) -> Iterator[Clients]:
    """Clients on the session's broker."""
    name, broker = request.param
    if request.param in IN_PROCESS:
        made: Library = IN_PROCESS[request.param](MemoryBroker())
    else:
        made = library(name, request.getfixturevalue(broker), BROKERS[broker])
    with clients(made, topic_prefix, lambda: pytest.fail("this broker is everybody's")) as one:
        yield one


@pytest.fixture(params=[*IN_PROCESS, *product(LIBRARIES, ["embedded", "apache"])], ids="-".join)
def own_kafka(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Clients]:
    """Clients on a broker of the test's own, which it may stop."""
    name, broker_name = request.param
    if request.param in IN_PROCESS:
        broker = MemoryBroker()

        def stop() -> None:
            broker.accepting = False

        with clients(IN_PROCESS[request.param](broker), "", stop) as one:
            yield one
        return
    server: Tansu | KafkaCluster = Tansu(tmp_path)
    if broker_name == "apache":
        server = KafkaCluster(tmp_path, request.getfixturevalue("kafka_jars"))
    with running(server), clients(library(name, server.url), "", server.kill) as one:
        yield one


@pytest.fixture(params=["memory", "postgres"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    with postgres_world(request.getfixturevalue("postgres_url")) as one:
        yield one


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[PostgresWorld]:
    with postgres_world(postgres_url) as one:
        yield one
