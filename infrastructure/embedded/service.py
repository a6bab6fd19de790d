"""What a supervisor needs of the things it keeps alive: embedded servers and ridelog's own programs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import NamedTuple, Protocol

from infrastructure.embedded.child_process import ChildProcess, ProcessSpec, log_tail


class Service(Protocol):
    """Something with a process. ``EmbeddedServer`` is one as it stands."""

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
        """Start the process without waiting until it is ready. Raises UserError or OSError if it cannot."""
        ...

    def stop(self) -> None:
        """Stop in order, by force if it does not obey in time."""
        ...


def last_words(service: Service) -> str:
    """What its process wrote last of what went wrong; nothing of the processes before it. "" if nothing."""
    child = service.child
    return log_tail(service.log_path, 2, child.log_began if child is not None else 0)


class ServiceCommand(NamedTuple):
    """One program of ours: argument vector and its whole environment."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]


class Program:
    """A child program of the supervisor; SIGTERM asks it to stop and it has ten seconds to do so."""

    stop_steps: Sequence[tuple[Signals, float]] = ((SIGTERM, 10.0),)

    def __init__(self, command: ServiceCommand, data_dir: Path, cwd: Path) -> None:
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
        """Start it; nothing if it runs."""
        if not self.is_alive():
            self._child = ChildProcess(self._spec)

    def stop(self) -> None:
        """Stop it; nothing if it does not run."""
        if self._child is not None:
            self._child.stop(self.stop_steps)
            self._child = None


log = logging.getLogger(__name__)


def stop_all(services: Sequence[Service], hurry: Callable[[], bool] = lambda: False) -> None:
    """Stop them side by side, so that the slowest sets the time, not the sum; SIGKILL once ``hurry()``."""
    children = [service.child for service in services if service.child is not None]
    if not children:
        return
    with ThreadPoolExecutor(max_workers=len(services), thread_name_prefix="stop") as pool:
        pending = {pool.submit(service.stop) for service in services}
        while pending:
            done, pending = wait(pending, timeout=0.1)
            for stopped in done:
                stopped.result()
            if pending and hurry():
                log.warning("asked to stop again: killing what still runs")
                for child in children:
                    child.send(SIGKILL)
                break
