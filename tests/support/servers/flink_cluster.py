"""A Flink session cluster from the second environment, on loopback: one JobManager and TaskManagers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGTERM, Signals

import httpx
import psutil

from infrastructure.embedded.child_process import ProcessSpec, plain_environment
from infrastructure.embedded.server import EmbeddedServer, free_port
from infrastructure.flink.environment import FlinkEnvironment
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s

REST_TIMEOUT_S = 2.0
HEARTBEAT_TIMEOUT_MS = 8_000
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""A JVM that lives for minutes takes less CPU without the second compiler."""
METRICS_PORTS = range(9_249, 9_300)
"""Those of ``deploy/flink/config.yaml``; each process has another one."""
KEPT_CHECKPOINTS = 30
"""Completed checkpoints that are kept, so that a test can restore an older one than the last."""


def missing_environment() -> str | None:
    """Why no Flink cluster can run here, or None."""
    if shutil.which("java") is None:
        return "java not found: install Java 17"
    return FlinkEnvironment(ROOT / ".flink-venv").missing()


class FlinkServer(EmbeddedServer):
    """A JVM of the cluster: it takes 6 s of CPU to start, which is a minute where ten processes want each core."""

    def start(self, timeout_s: float = 60.0) -> None:
        super().start(scaled_s(timeout_s))

    def listening(self) -> list[tuple[str, int]]:
        """The address and port of each socket on which the JVM, or a child of it, listens."""
        parent = psutil.Process(self.pid)
        return [
            (connection.laddr.ip, connection.laddr.port)
            for process in (parent, *parent.children(recursive=True))
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]

    def metrics(self) -> str:
        """What Prometheus scrapes; "" if the JVM does not listen at a port of METRICS_PORTS."""
        first, end = METRICS_PORTS.start, METRICS_PORTS.stop
        port = next((port for _, port in self.listening() if first <= port < end), None)
        return "" if port is None else httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=scaled_s(10)).text


class JobManager(FlinkServer):
    """The JobManager; ``url`` is that of its REST interface."""

    setting = "RIDELOG_FLINK_URL"
    name = "flink-jobmanager"
    stop_steps: Sequence[tuple[Signals, float]] = ((SIGTERM, 10.0),)

    def __init__(
        self,
        data_dir: Path,
        heartbeat_timeout_ms: int = HEARTBEAT_TIMEOUT_MS,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """``settings`` is added to its environment."""
        super().__init__(data_dir)
        self._heartbeat_timeout_ms = heartbeat_timeout_ms
        self._settings = settings or {}
        self.rest_port, self.rpc_port, self.blob_port = free_port(), free_port(), free_port()
        self._environment = FlinkEnvironment(ROOT / ".flink-venv")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rest_port}"

    def options(self) -> dict[str, str]:
        """The options that both kinds of processes share."""
        return {
            "jobmanager.rpc.port": str(self.rpc_port),
            "rest.port": str(self.rest_port),
            "execution.checkpointing.dir": (self.data_dir / "checkpoints").as_uri(),
            "execution.checkpointing.savepoint-dir": (self.data_dir / "savepoints").as_uri(),
            "execution.checkpointing.num-retained": str(KEPT_CHECKPOINTS),
            "heartbeat.timeout": str(self._heartbeat_timeout_ms),
            # By default a folder of /tmp that is named after the TaskManager: those of two clusters would share it.
            "io.tmp.dirs": str(self.data_dir / "working"),
        }

    def overview(self) -> dict[str, int]:
        """What the cluster says of its TaskManagers, slots and jobs; empty if it does not answer."""
        try:
            found: dict[str, int] = httpx.get(f"{self.url}/overview", timeout=REST_TIMEOUT_S).json()
        except (httpx.HTTPError, ValueError):
            return {}
        return found

    def _prepare(self) -> ProcessSpec:
        options = {**self.options(), "blob.server.port": str(self.blob_port), "jobmanager.memory.process.size": "900m"}
        java = {"FLINK_ENV_JAVA_OPTS_JM": SHORT_LIVED}
        environment = {**self._settings, **java}
        return _spec(self._environment, "jobmanager", self.name, self.log_path, options, environment)

    def _is_ready(self) -> bool:
        return "taskmanagers" in self.overview()


class TaskManager(FlinkServer):
    """A TaskManager with ``slots``. ``settings`` is the environment of its Python workers, ``java`` has JVM options."""

    setting = "RIDELOG_FLINK_URL"
    stop_steps: Sequence[tuple[Signals, float]] = ((SIGTERM, 10.0),)

    def __init__(
        self,
        data_dir: Path,
        jobmanager: JobManager,
        number: int,
        settings: Mapping[str, str],
        slots: int = 2,
        java: str = SHORT_LIVED,
    ) -> None:
        self.name = f"flink-taskmanager-{number}"
        super().__init__(data_dir)
        self._jobmanager = jobmanager
        self._number = number
        self._settings = {**settings, "FLINK_ENV_JAVA_OPTS_TM": java}
        self._slots = slots
        self._environment = FlinkEnvironment(ROOT / ".flink-venv")

    @property
    def url(self) -> str:
        return self._jobmanager.url

    def kill(self) -> None:
        """Kill it with its Python workers, as the end of their machine would."""
        workers = self._python_workers()
        super().kill()
        _end(workers)

    def stop(self) -> None:
        """Stop it; a JVM that did not end in time leaves its Python workers behind."""
        workers = self._python_workers()
        super().stop()
        _end(workers)

    def _python_workers(self) -> list[psutil.Process]:
        return [] if self.pid is None else psutil.Process(self.pid).children(recursive=True)

    def _prepare(self) -> ProcessSpec:
        options = {
            **self._jobmanager.options(),
            "taskmanager.numberOfTaskSlots": str(self._slots),
            "taskmanager.memory.process.size": "1100m",
            "taskmanager.resource-id": self.name,
        }
        return _spec(self._environment, "taskmanager", self.name, self.log_path, options, self._settings)

    def _is_ready(self) -> bool:
        try:
            found = httpx.get(f"{self.url}/taskmanagers", timeout=REST_TIMEOUT_S).json()
        except (httpx.HTTPError, ValueError):
            return False
        return any(one["id"] == self.name for one in found.get("taskmanagers", ()))


def _end(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _spec(
    environment: FlinkEnvironment,
    script: str,
    name: str,
    log_path: Path,
    options: Mapping[str, str],
    settings: Mapping[str, str],
) -> ProcessSpec:
    folder = log_path.parent.parent / name
    folder.mkdir(parents=True, exist_ok=True)
    dynamic = [part for key, value in options.items() for part in ("-D", f"{key}={value}")]
    variables = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "JAVA_HOME", "LANG"}}
    variables |= {**plain_environment(), **environment.variables(ROOT), **settings, "FLINK_LOG_DIR": str(folder)}
    command = [str(environment.script(f"{script}.sh")), "start-foreground", *dynamic]
    return ProcessSpec(name, command, log_path, variables, folder)
