"""The services that a supervisor keeps running: embedded servers and ridelog's own programs.

``stop_all`` stops many services at the same time, within one bounded time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import NamedTuple, Protocol

from infrastructure.embedded.child_process import ChildProcess, ProcessSpec, log_tail
from infrastructure.embedded.fork_server import ForkServer


class Service(Protocol):
    """A process that a supervisor can start and stop. ``EmbeddedServer`` and ``Program`` implement it."""

    @property
    def name(self) -> str: ...

    @property
    def log_path(self) -> Path: ...

    @property
    def stop_steps(self) -> Sequence[tuple[Signals, float]]: ...

    @property
    def child(self) -> ChildProcess | None:
        """The process, running or ended; None before the first start and after a stop."""
        ...

    def is_alive(self) -> bool: ...

    def spawn(self) -> None:
        """Start the process without waiting until it is ready. Raises UserError or OSError if that fails."""
        ...

    def stop(self) -> None:
        """Stop cleanly, by SIGKILL if that takes too long."""
        ...


def last_errors(service: Service) -> str:
    """The last log lines of the current process that say what went wrong; "" if there are none."""
    child = service.child
    return log_tail(service.log_path, 2, child.log_start if child is not None else 0)


class ServiceCommand(NamedTuple):
    """How to start one of ridelog's own programs: argument vector and whole environment."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]


class Program:
    """A child program of the supervisor. After SIGTERM it has ten seconds to stop."""

    stop_steps: Sequence[tuple[Signals, float]] = ((SIGTERM, 10.0),)

    def __init__(self, command: ServiceCommand, data_dir: Path, cwd: Path, forks: ForkServer | None = None) -> None:
        self._forks = forks
        self.name = command.name
        self.log_path = data_dir / "logs" / f"{command.name}.log"
        self._spec = ProcessSpec(command.name, command.argv, self.log_path, command.env, cwd, None, SIGKILL)
        self._child: ChildProcess | None = None

    @property
    def child(self) -> ChildProcess | None:
        """The process, running or ended; None before the first start and after a stop."""
        return self._child

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.is_alive()

    def spawn(self) -> None:
        """Start the process, as a fork if the fork server can. Does nothing if it runs."""
        if not self.is_alive():
            fork = None if self._forks is None else self._forks.start(self._spec)
            self._child = fork or ChildProcess(self._spec)

    def stop(self) -> None:
        """Stop the process. Does nothing if it does not run."""
        if self._child is not None:
            self._child.stop(self.stop_steps)
            self._child = None


log = logging.getLogger(__name__)


def stop_all(services: Sequence[Service], is_urgent: Callable[[], bool] = lambda: False) -> None:
    """Stop the services in parallel, so that the slowest one sets the time. SIGKILL once ``is_urgent()`` is true."""
    children = [service.child for service in services if service.child is not None]
    if not children:
        return
    with ThreadPoolExecutor(max_workers=len(services), thread_name_prefix="stop") as pool:
        pending = {pool.submit(service.stop) for service in services}
        while pending:
            done, pending = wait(pending, timeout=0.1)
            for stopped in done:
                stopped.result()
            if pending and is_urgent():
                log.warning("a second stop signal: killing the processes that still run")
                for child in children:
                    child.send(SIGKILL)
                break
