"""Kafka Connect, standalone, configured by deploy/debezium/ and the settings of a test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any

import httpx
from sqlalchemy import make_url

from infrastructure.embedded.child_process import ProcessSpec, plain_environment
from infrastructure.embedded.server import EmbeddedServer, ServerError, free_port, listens
from infrastructure.settings.settings import Settings
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually

HOME = ROOT / "deploy" / "debezium"
# Small and quick to start; a benchmark passes its own options.
JAVA = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
LOG = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")


class Connect(EmbeddedServer):
    """A worker without connectors, at ``bootstrap``."""

    name = "connect"
    setting = "the address of a Kafka Connect"
    stop_steps: Sequence[tuple[Signals, float]] = ((SIGTERM, 20.0),)

    def __init__(self, data_dir: Path, jars: Path, settings: Settings, java: Sequence[str] = JAVA) -> None:
        """Connectors of this worker read the database of ``settings``, which must listen on TCP, and publish to its
        Kafka."""
        super().__init__(data_dir)
        self._jars = jars
        self._settings = settings
        self._java = java
        self._port = free_port()

    @property
    def url(self) -> str:
        """The URL of its REST interface."""
        return f"http://127.0.0.1:{self._port}"

    def put(self, name: str, other: Mapping[str, str] | None = None) -> None:
        """Start the connector of deploy/debezium/connector.json as ``name`` and wait until its task runs.

        ``other``: options that differ from the file. Raises AssertionError with the reason if the task fails.
        """
        config = json.loads((HOME / "connector.json").read_text()) | dict(other or {})
        self._request("PUT", f"{name}/config", config)
        self._await_task(name)

    def halt(self, name: str) -> None:
        """Stop the connector; it keeps its configuration and offsets."""
        self._request("PUT", f"{name}/stop")

        def halted() -> bool:
            status = self._status(name)
            return status["connector"]["state"] == "STOPPED" and not status["tasks"]

        eventually(halted, within_s=60.0, what=f"the connector {name} has stopped")

    def forget(self, name: str) -> None:
        """After ``halt``: delete its offsets, so that it resumes at the slot."""
        self._request("DELETE", f"{name}/offsets")

    def resume(self, name: str) -> None:
        """Resume after ``halt``. Raises AssertionError with the reason if the task fails."""
        self._request("PUT", f"{name}/resume")
        self._await_task(name)

    def _await_task(self, name: str) -> None:
        eventually(lambda: self._runs(name), within_s=60.0, what=f"the connector {name} runs")

    def _request(self, method: str, path: str, body: Mapping[str, str] | None = None) -> None:
        httpx.request(method, f"{self.url}/connectors/{path}", json=body, timeout=60.0).raise_for_status()

    def _status(self, name: str) -> Any:
        answer = httpx.get(f"{self.url}/connectors/{name}/status", timeout=60.0)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return {"tasks": []}
        return answer.raise_for_status().json()

    def _runs(self, name: str) -> bool:
        tasks = self._status(name)["tasks"]
        failed = [task["trace"] for task in tasks if task["state"] == "FAILED"]
        assert not failed, failed[0]
        return bool(tasks) and all(task["state"] == "RUNNING" for task in tasks)

    def _prepare(self) -> ProcessSpec:
        java = shutil.which("java")
        if java is None:
            raise ServerError("java not found: install Java 17")
        self.data_dir.mkdir(parents=True, exist_ok=True)
        command = [java, *self._java, *LOG, "-cp", f"{self._jars}/*"]
        command += ["org.apache.kafka.connect.cli.ConnectStandalone", str(HOME / "worker.properties")]
        env = plain_environment() | environment(self._settings)
        env |= {"CONNECT_LISTENER": self.url, "CONNECT_OFFSETS_FILE": str(self.data_dir / "offsets")}
        return ProcessSpec(self.name, command, self.log_path, env, self.data_dir)

    def _is_ready(self) -> bool:
        if self.pid is None or not listens(self.pid, self._port):
            return False
        try:
            return httpx.get(f"{self.url}/connectors", timeout=5.0).is_success
        except httpx.TransportError:
            return False


def environment(settings: Settings) -> dict[str, str]:
    """Values for the placeholders in deploy/debezium/. Debezium reaches Postgres on TCP only."""
    url = make_url(settings.postgres_url or "")
    assert url.host is not None, "Debezium needs Postgres on TCP"
    return {
        "CONNECT_DATABASE_HOST": url.host,
        "CONNECT_DATABASE_PORT": str(url.port or 5432),
        "CONNECT_DATABASE_NAME": url.database or "",
        "CONNECT_DATABASE_USER": url.username or "",
        "CONNECT_DATABASE_PASSWORD": url.password or "",
        "RIDELOG_KAFKA_BOOTSTRAP": settings.kafka_bootstrap or "",
        "RIDELOG_TOPIC_PREFIX": settings.topic_prefix,
        "RIDELOG_SLOT_NAME": settings.slot_name,
        "RIDELOG_PUBLICATION_NAME": settings.publication_name,
    }


def tcp_home(folder: Path) -> Path:
    """A data directory below ``folder`` with a path too long for a socket: its Postgres listens on loopback."""
    return folder / ("tcp-" + "x" * 100)


def overrides(settings: Settings) -> dict[str, str]:
    """Options of a connector that uses another database and other topics than its worker's environment."""
    values = environment(settings)
    text = (HOME / "connector.json").read_text()
    for key, value in values.items():
        text = text.replace(f"${{env:{key}}}", value)
    return {**json.loads(text), "topic.prefix": settings.slot_name}
