"""Base class of the three embedded servers: start, watch, restart at the same address, stop.

A server listens on a Unix socket in a private directory if the socket's path fits, else on a loopback port.
"""

from __future__ import annotations

import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

import psutil

from infrastructure.embedded.child_process import ChildProcess, ProcessSpec, log_tail, until
from infrastructure.errors import UserError


class ServerError(UserError):
    """An embedded server cannot be started. The message says why and what to do."""


class EmbeddedServer(ABC):
    """A server with its data in ``data_dir``. Its address is chosen once and survives every restart."""

    name: str
    setting: str  # the environment variable that names an external server instead
    stop_steps: Sequence[tuple[Signals, float]] = ((SIGTERM, 10.0),)

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.log_path = data_dir / "logs" / f"{self.name}.log"
        self._child: ChildProcess | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL that clients connect to. It is known before the start."""

    @abstractmethod
    def _prepare(self) -> ProcessSpec:
        """Create the directories and files that a start needs. Returns how to start. May be called repeatedly."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether a client is served now."""

    @property
    def child(self) -> ChildProcess | None:
        """The process, running or ended; None before the first start and after a stop."""
        return self._child

    @property
    def pid(self) -> int | None:
        """Process id of the running server, else None."""
        return self._child.pid if self._child is not None and self._child.is_alive() else None

    def is_alive(self) -> bool:
        """Whether the process runs (it may not be ready yet)."""
        return self.pid is not None

    def spawn(self) -> None:
        """Start the process without waiting until it is ready. Does nothing if it runs."""
        if not self.is_alive():
            self._child = ChildProcess(self._prepare())

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until clients are served. Raises ServerError if the process ends or time is up."""
        deadline = time.monotonic() + timeout_s
        while self.is_alive():
            if self._is_ready():
                return
            if not until(deadline):
                raise ServerError(self._failure(f"is not ready after {timeout_s:.0f} s"))
        raise ServerError(self._failure("ended while it started"))

    def start(self, timeout_s: float = 60.0) -> None:
        """Start and wait until clients are served. Raises ServerError."""
        self.spawn()
        self.wait_ready(timeout_s)

    def stop(self) -> None:
        """Stop cleanly, by SIGKILL if that takes too long. Does nothing if the process does not run."""
        if self._child is not None:
            self._child.stop(self.stop_steps)
            self._child = None

    def kill(self) -> None:
        """Send SIGKILL, as a fault would, and wait until the process has ended."""
        if self._child is not None:
            self._child.send(SIGKILL)
            self._child.wait(10.0)

    def restart(self) -> None:
        """Stop the server if it runs, and start it at the same address with the same data."""
        self.stop()
        self.start()

    def _failure(self, what: str) -> str:
        said = log_tail(self.log_path, since=self._child.log_start if self._child is not None else 0)
        return (
            f"the embedded {self.name} {what}: {said or 'it gave no reason'}; "
            f"see {self.log_path}, or set {self.setting} to a server of your own"
        )


MAX_SOCKET_PATH_BYTES = 103
"""sockaddr_un.sun_path holds 108 bytes on Linux and 104 on macOS, with the terminating zero."""


def free_port() -> int:
    """A loopback TCP port on which no process listened a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fits_socket(path: Path) -> bool:
    """Whether the kernel accepts the path as that of a Unix socket."""
    return len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES


def listens(pid: int, port: int) -> bool:
    """Whether this process itself listens on the TCP port. A connect could reach another process."""
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.NoSuchProcess:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)
