"""A child process that never outlives its parent, with its own process group and a log file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import BinaryIO, NamedTuple, Protocol, Self

from infrastructure.embedded.adopted_process import AdoptedProcess

LAUNCHER = Path(__file__).with_name("launch.py")
MAX_LOG_BYTES = 32 * 1024 * 1024
TAIL_BYTES = 64 * 1024
# Log lines below WARNING, in our two log formats. They say nothing about why a program ended.
_ROUTINE_LINE = re.compile(r'\S+\s+(?:TRACE|DEBUG|INFO)\s|\{.*"level": "(?:debug|info)"')

# Linux sends the parent-death signal when the *thread* that forked ends. One thread that lives as long as the process
# therefore starts every child; a child that a short-lived worker thread started would be killed with that thread.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class ProcessUser(NamedTuple):
    """The user and group that a child runs as."""

    uid: int
    gid: int


class ProcessSpec(NamedTuple):
    """How to start a child. ``env``: its whole environment. ``death_signal``: what it gets when this process ends."""

    name: str
    command: Sequence[str]
    log_path: Path
    env: Mapping[str, str]
    cwd: Path
    user: ProcessUser | None = None
    death_signal: Signals = SIGKILL


class _Handle(Protocol):
    """The part of ``subprocess.Popen`` that is used here."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: Signals) -> None: ...


class ChildProcess:
    """A process that is started on construction. Raises OSError if it cannot be started.

    ``log_start``: the byte of the log file at which its own lines begin, after those of earlier processes.
    """

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self._popen: _Handle
        self._popen, self.log_start = _spawner.submit(_spawn, spec).result()

    @classmethod
    def adopt(cls, spec: ProcessSpec, pid: int, log_start: int) -> Self:
        """The child ``pid`` of this process, which runs ``spec``. Raises ChildProcessError if it is no child."""
        self = cls.__new__(cls)
        self.spec, self.log_start = spec, log_start
        self._popen = AdoptedProcess(pid)
        return self

    @property
    def pid(self) -> int:
        """The process id. The kernel does not reuse it before this object has seen the end of the process."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """None while the process runs; negative: the signal that ended it."""
        return self._popen.poll()

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._popen.poll() is None

    def send(self, signal: Signals) -> None:
        """Send a signal. Does nothing if the process has ended."""
        self._popen.send_signal(signal)

    def wait(self, timeout_s: float) -> bool:
        """Wait at most ``timeout_s`` seconds. Returns whether the process has ended."""
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, steps: Sequence[tuple[Signals, float]] = ((SIGTERM, 10.0),)) -> None:
        """Send each signal and wait its seconds, then SIGKILL. Takes at most the sum of the seconds."""
        for signal, seconds in steps:
            self.send(signal)
            if self.wait(seconds):
                return
        self.send(SIGKILL)
        self._popen.wait()


def log_tail(path: Path, lines: int = 3, since: int = 0) -> str:
    """The last lines from byte ``since`` that say what went wrong, joined into one line for an error message."""
    try:
        with path.open("rb") as log:
            log.seek(max(since, path.stat().st_size - TAIL_BYTES))
            text = log.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    relevant = [line.strip() for line in text.splitlines() if line.strip(" ^~\t") and not _ROUTINE_LINE.match(line)]
    return " | ".join(relevant[-lines:])


def plain_environment() -> dict[str, str]:
    """The part of our environment that a server needs, without variables that reconfigure it (PG…, LISTENER_URL…)."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ}


def until(deadline: float, every_s: float = 0.02) -> bool:
    """Sleep for ``every_s`` between two polls. Returns False once the monotonic ``deadline`` has passed."""
    if time.monotonic() >= deadline:
        return False
    time.sleep(every_s)
    return True


def _spawn(spec: ProcessSpec) -> tuple[subprocess.Popen[bytes], int]:
    uid, gid = spec.user or (-1, -1)
    launch = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())]
    launch += [str(int(spec.death_signal)), str(uid), str(gid), *spec.command]
    with open_log(spec) as log:
        log_start = log.tell()
        process = subprocess.Popen(  # noqa: S603 - programs of our own wheels, no shell
            launch,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(spec.env),
            cwd=spec.cwd,
            # Ctrl-C in a terminal reaches its whole foreground group, but only the supervisor decides the stop order.
            start_new_session=True,
            umask=0o077,
        )
    return process, log_start


def open_log(spec: ProcessSpec) -> BinaryIO:
    """The log file of a child, open for appending; a long one is set aside first."""
    spec.log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _rotate(spec.log_path)
    return spec.log_path.open("ab")


def _rotate(log_path: Path) -> None:
    if log_path.exists() and log_path.stat().st_size > MAX_LOG_BYTES:
        log_path.replace(log_path.with_suffix(log_path.suffix + ".old"))
