"""A ridelog on servers that the test owns, so that the test can break each of them."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import psutil
import redis
from sqlalchemy import Engine

from infrastructure.embedded.postgres import Postgres
from infrastructure.embedded.process_identity import process_start_id
from infrastructure.embedded.server import EmbeddedServer
from infrastructure.embedded.tansu import Tansu
from infrastructure.embedded.valkey import Valkey
from infrastructure.postgres.engine import sink_engine
from infrastructure.postgres.migrations import upgrade
from infrastructure.redis.connection import connect_server
from infrastructure.settings.settings import Settings
from tests.support.servers.apache_kafka import KafkaCluster
from tests.support.servers.servers import UNDURABLE, running
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.ridelog import ridelog as running_ridelog

EMBEDDED, APACHE, APACHE_3 = "embedded broker", "Apache Kafka", "Apache Kafka, 3 brokers"
PROGRAMS = ("api", "tailer", "projections")
SLOT_KEEPS = "128MB"
"""max_slot_wal_keep_size: small enough for a test to exceed it."""
DISK_MB = 640


class World:
    """``serve`` with the three servers of its settings. ``broker``: which Kafka."""

    def __init__(
        self, broker: str, folder: Path, postgres: Postgres, valkey: Valkey, kafka: Tansu | KafkaCluster
    ) -> None:
        self.broker = broker
        self.folder = folder
        self.postgres = postgres
        self.valkey = valkey
        self.kafka = kafka
        self.ridelog: Ridelog
        self.engine: Engine = sink_engine(postgres.url)

    @property
    def settings(self) -> Settings:
        """The settings of ``serve``, for further processes next to its own."""
        return Settings(
            data_dir=self.ridelog.data_dir,
            postgres_url=self.postgres.url,
            redis_url=self.valkey.url,
            kafka_bootstrap=self.kafka.url,
            metrics_dir=self.ridelog.data_dir / "metrics",
        )

    def redis(self) -> redis.Redis:
        """A client of the sink; the caller closes it."""
        return connect_server(self.valkey.url)

    def server(self, name: str) -> EmbeddedServer:
        """A server by name; of a cluster, its first broker."""
        kafka = self.kafka.nodes[0] if isinstance(self.kafka, KafkaCluster) else self.kafka
        return {"postgres": self.postgres, "redis": self.valkey, "kafka": kafka}[name]

    def pids(self, name: str) -> list[int]:
        """Pids of a program of ``serve``, or of a server."""
        if name in PROGRAMS:
            return [entry.pid for entry in self.ridelog.processes_of(name).values()]
        pid = self.server(name).pid
        assert pid is not None, f"{name} does not run"
        return [pid]

    def kill(self, name: str) -> None:
        """kill -9; returns when it runs again: ``serve`` restarts its programs, this method restarts servers."""
        if name not in PROGRAMS:
            self.server(name).kill()
            self.server(name).start()
            return
        self.ridelog.kill(name)

    def freeze(self, name: str, seconds: float) -> None:
        """SIGSTOP to it and all its children, for ``seconds``; then SIGCONT to those that still run."""
        with frozen(self.pids(name)):
            pause(seconds)


@contextmanager
def frozen(pids: Sequence[int]) -> Iterator[None]:
    """Suspend each process and its descendants (SIGSTOP) during the block."""
    tree = [process for pid in pids for process in _tree(pid)]
    marks = {process.pid: process_start_id(process.pid) for process in tree}
    for process in tree:
        _send(process.pid, marks[process.pid], SIGSTOP)
    try:
        yield
    finally:
        for process in tree:
            _send(process.pid, marks[process.pid], SIGCONT)


def pause(seconds: float) -> None:
    """Wait for the length of a fault. Nothing is synchronised by it: the test then waits for the effects."""
    threading.Event().wait(seconds)


@contextmanager
def world(broker: str, folder: Path, jars: Path | None = None, *, small_disk: bool = False) -> Iterator[World]:
    """Start everything, wait until it is ready, and stop it at the end.

    ``jars``: of Apache Kafka, for the brokers that are it. ``small_disk``: Postgres is on a file system of its own.
    """
    with ExitStack() as stack:
        home = folder / "postgres"
        if small_disk:
            stack.enter_context(mounted(home))
        options = {**UNDURABLE, "max_slot_wal_keep_size": SLOT_KEEPS, "max_wal_size": "256MB"}
        postgres = stack.enter_context(running(Postgres(home, options)))
        upgrade(postgres.url)
        valkey = stack.enter_context(running(Valkey(folder / "servers")))
        kafka = stack.enter_context(running(_kafka(broker, folder / "servers", jars)))
        one = World(broker, folder, postgres, valkey, kafka)
        stack.callback(one.engine.dispose)
        one.ridelog = stack.enter_context(
            running_ridelog(folder / "data", postgres_url=postgres.url, redis_url=valkey.url, kafka_bootstrap=kafka.url)
        )
        yield one


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """Mount a small file system in memory at ``folder`` during the block."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=755", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _kafka(broker: str, folder: Path, jars: Path | None) -> Tansu | KafkaCluster:
    if broker == EMBEDDED:
        return Tansu(folder)
    assert jars is not None
    return KafkaCluster(folder, jars, 3 if broker == APACHE_3 else 1)


def _tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _send(pid: int, start_id: str | None, signal: int) -> None:
    # A process that ended while suspended gets no signal, nor does another process that has reused its pid.
    if start_id is not None and process_start_id(pid) == start_id:
        os.kill(pid, signal)
