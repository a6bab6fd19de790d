"""Apache Kafka (KRaft) on loopback: one broker, or three that replicate to each other. Also ``make kafka``."""

from __future__ import annotations

import base64
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGTERM, Signals

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infrastructure.embedded.child_process import ProcessSpec, plain_environment
from infrastructure.embedded.server import EmbeddedServer, ServerError, free_port, listens
from tests.support.time_limits import scaled_s

# Small and quick to start: a broker of the tests shares two cores with the programs that use it.
JAVA = (
    shutil.which("java") or "java",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
)
LOG = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")
MIN_SESSION_S = 2.0
BOOTSTRAP = "bootstrap.checkpoint"
"""The file of a new log with the features of the version, which names no cluster and no node."""


def new_id() -> str:
    """The id of a new cluster, or of the directory of a node."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


class KafkaNode(EmbeddedServer):
    """Broker and controller in one process. ``controllers``: node id -> port of every controller of the cluster."""

    setting = "RIDELOG_KAFKA_BOOTSTRAP"
    stop_steps: Sequence[tuple[Signals, float]] = ((SIGTERM, 5.0),)

    def __init__(
        self, data_dir: Path, jars: Path, cluster_id: str, node_id: int, controllers: Mapping[int, int]
    ) -> None:
        self.name = f"kafka-{node_id}"
        super().__init__(data_dir)
        self.home = data_dir / self.name
        self.port = free_port()
        self._jars = jars
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._controllers = controllers

    @property
    def url(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def wipe(self) -> None:
        """Kill the node and delete all its data, its membership of the cluster included."""
        self.kill()
        shutil.rmtree(self.home)

    def _prepare(self) -> ProcessSpec:
        self.home.mkdir(parents=True, exist_ok=True)
        settings = self.home / "server.properties"
        settings.write_text("".join(f"{key}={value}\n" for key, value in self._settings().items()))
        if not (self.home / "log" / "meta.properties").exists():
            self._format(settings)
        command = [*JAVA, *LOG, "-cp", f"{self._jars}/*", "kafka.Kafka", str(settings)]
        return ProcessSpec(self.name, command, self.log_path, plain_environment(), self.home)

    def _format(self, settings: Path) -> None:
        """Write the files of an empty log. Kafka's own tool takes 2 s of CPU, and runs once for each version."""
        template, log = self._jars / BOOTSTRAP, self.home / "log"
        if not template.exists():
            self._format_by_tool(settings)
            # Renamed when complete: another session may read it.
            part = self._jars / f"{BOOTSTRAP}.{uuid.uuid4().hex}"
            shutil.copy(log / BOOTSTRAP, part)
            part.rename(template)
            return
        log.mkdir(exist_ok=True)
        shutil.copy(template, log / BOOTSTRAP)
        ids = {"cluster.id": self._cluster_id, "directory.id": new_id(), "node.id": self._node_id, "version": 1}
        (log / "meta.properties").write_text("".join(f"{key}={value}\n" for key, value in ids.items()))

    def _format_by_tool(self, settings: Path) -> None:
        # With "=": one id in 64 begins with a dash, and would be parsed as an option.
        id_ = f"--cluster-id={self._cluster_id}"
        format_ = ["kafka.tools.StorageTool", "format", "--config", str(settings), id_]
        command = [*JAVA, "-cp", f"{self._jars}/*", *format_]
        done = subprocess.run(command, capture_output=True, text=True, timeout=scaled_s(60), check=False, cwd=self.home)
        if done.returncode != 0:
            raise ServerError(f"the storage of {self.name} cannot be formatted: {done.stdout}{done.stderr}")

    def _settings(self) -> dict[str, object]:
        nodes = len(self._controllers)
        replicas, in_sync = min(nodes, 3), min(nodes, 2)
        return {
            "process.roles": "broker,controller",
            "node.id": self._node_id,
            "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{port}" for n, port in self._controllers.items()),
            "listeners": f"PLAINTEXT://{self.url},CONTROLLER://127.0.0.1:{self._controllers[self._node_id]}",
            "advertised.listeners": f"PLAINTEXT://{self.url}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.home / "log",
            "auto.create.topics.enable": "false",
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            # A killed member stays in its group until its session ends, and the tests would wait for that.
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": int(MIN_SESSION_S * 1000),
            # A killed node is rejected until the controllers have expired its old session.
            "broker.heartbeat.interval.ms": 500,
            "broker.session.timeout.ms": 3000,
        }

    def _is_ready(self) -> bool:
        if self.pid is None or not listens(self.pid, self.port):
            return False
        try:
            known = AdminClient({"bootstrap.servers": self.url, "log_level": 0}).list_topics(timeout=2.0)
        except KafkaException:
            return False
        return self._node_id in known.brokers


class KafkaCluster:
    """A cluster of ``nodes`` brokers. ``url`` names all of them, as RIDELOG_KAFKA_BOOTSTRAP does."""

    def __init__(self, data_dir: Path, jars: Path, nodes: int = 1) -> None:
        cluster_id = new_id()
        controllers = {node_id: free_port() for node_id in range(1, nodes + 1)}
        self.nodes = [KafkaNode(data_dir, jars, cluster_id, node_id, controllers) for node_id in controllers]

    @property
    def url(self) -> str:
        """host:port,… of every broker."""
        return ",".join(node.url for node in self.nodes)

    def start(self) -> None:
        """Start all stopped nodes at the same time: none is ready before a majority is up."""
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.wait_ready()

    def stop(self) -> None:
        """Stop all nodes. The last one has no majority to hand over to, and is killed after its timeout."""
        for node in self.nodes:
            node.stop()

    def kill(self) -> None:
        """Send SIGKILL to all nodes."""
        for node in self.nodes:
            node.kill()
