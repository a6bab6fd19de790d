"""What the three embedded servers have in common: start, watch, restart at the same address, stop."""

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
    """An embedded server cannot be started; the message says why and what to do."""


class EmbeddedServer(ABC):
    """A server of our own below ``data_dir``. Its address is chosen once and survives every restart."""

    name: str
    setting: str  # the variable that replaces this server by an external one
    stop_steps: Sequence[tuple[Signals, float]] = ((SIGTERM, 10.0),)

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.log_path = data_dir / "logs" / f"{self.name}.log"
        self._child: ChildProcess | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """What clients connect to; known before the start."""

    @abstractmethod
    def _prepare(self) -> ProcessSpec:
        """Make the directories and files that a start needs; how to start. May be called again and again."""

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
        """Start the process without waiting until it is ready; nothing if it runs."""
        if not self.is_alive():
            self._child = ChildProcess(self._prepare())

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until clients are served. Raises ServerError if the process ends or time is up."""
        deadline = time.monotonic() + timeout_s
        while self.is_alive():
            if self._is_ready():
                return
            if not until(deadline):
                raise ServerError(self._complaint(f"is not ready after {timeout_s:.0f} s"))
        raise ServerError(self._complaint("ended while it started"))

    def start(self, timeout_s: float = 60.0) -> None:
        """Start and wait until clients are served. Raises ServerError."""
        self.spawn()
        self.wait_ready(timeout_s)

    def stop(self) -> None:
        """Stop in order, by force if it does not obey in time; nothing if it does not run."""
        if self._child is not None:
            self._child.stop(self.stop_steps)
            self._child = None

    def kill(self) -> None:
        """kill -9, as a fault does it; returns when the process is gone."""
        if self._child is not None:
            self._child.send(SIGKILL)
            self._child.wait(10.0)

    def restart(self) -> None:
        """Stop if it runs, start again at the same address with the same data."""
        self.stop()
        self.start()

    def _complaint(self, what: str) -> str:
        said = log_tail(self.log_path, since=self._child.log_began if self._child is not None else 0)
        return (
            f"the embedded {self.name} {what}: {said or 'it gave no reason'}; "
            f"see {self.log_path}, or set {self.setting} to a server of your own"
        )


# sockaddr_un.sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero included.
MAX_SOCKET_PATH = 103


def free_port() -> int:
    """A loopback TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fits_socket(path: Path) -> bool:
    """Whether the kernel accepts the path as that of a Unix socket."""
    return len(os.fsencode(path)) <= MAX_SOCKET_PATH


def listens(pid: int, port: int) -> bool:
    """Whether this very process accepts connections on the TCP port; a mere connect might reach another's."""
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.NoSuchProcess:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)
