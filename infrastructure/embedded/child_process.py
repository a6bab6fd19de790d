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
from typing import NamedTuple

LAUNCHER = Path(__file__).with_name("launch.py")
MAX_LOG_BYTES = 32 * 1024 * 1024
TAIL_BYTES = 64 * 1024
# What a program says of its usual work, in the two forms of our own logs; it tells nothing about an end.
_USUAL = re.compile(r'\S+\s+(?:TRACE|DEBUG|INFO)\s|\{.*"level": "(?:debug|info)"')

# Linux sends the parent-death signal when the *thread* that forked ends. Every child is therefore born in
# this one thread, which lives as long as the process; one started by a short-lived worker would die with it.
_nursery = ThreadPoolExecutor(max_workers=1, thread_name_prefix="nursery")


class ProcessUser(NamedTuple):
    """Whom a child runs as."""

    uid: int
    gid: int


class ProcessSpec(NamedTuple):
    """How to start a child. ``env`` is all of its environment; ``death_signal``: on our death."""

    name: str
    command: Sequence[str]
    log_path: Path
    env: Mapping[str, str]
    cwd: Path
    user: ProcessUser | None = None
    death_signal: Signals = SIGKILL


class ChildProcess:
    """One running (or ended) process, started on construction. Raises OSError if it cannot be started.

    ``log_began``: where in its log file its own lines begin, after those of the processes before it.
    """

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self._popen, self.log_began = _nursery.submit(_spawn, spec).result()

    @property
    def pid(self) -> int:
        """The process id; it stays reserved until the end of the process has been seen here."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._popen.poll()

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def send(self, signal: Signals) -> None:
        """Send a signal; nothing if it has ended."""
        self._popen.send_signal(signal)

    def wait(self, timeout_s: float) -> bool:
        """Whether it ended within ``timeout_s`` seconds."""
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, steps: Sequence[tuple[Signals, float]] = ((SIGTERM, 10.0),)) -> None:
        """Send each signal in turn and wait its seconds; SIGKILL ends what is left. Bounded by their sum."""
        for signal, seconds in steps:
            self.send(signal)
            if self.wait(seconds):
                return
        self.send(SIGKILL)
        self._popen.wait()


def log_tail(path: Path, lines: int = 3, since: int = 0) -> str:
    """The last lines from byte ``since`` on that say what went wrong, on one line, for an error message."""
    try:
        with path.open("rb") as log:
            log.seek(max(since, path.stat().st_size - TAIL_BYTES))
            text = log.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    telling = [line.strip() for line in text.splitlines() if line.strip(" ^~\t") and not _USUAL.match(line)]
    return " | ".join(telling[-lines:])


def plain_environment() -> dict[str, str]:
    """What a server needs of our environment, without what would reconfigure it (PG…, LISTENER_URL…)."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ}


def until(deadline: float, every_s: float = 0.02) -> bool:
    """Pause shortly; False once the monotonic ``deadline`` has passed. For polling a server that starts."""
    if time.monotonic() >= deadline:
        return False
    time.sleep(every_s)
    return True


def _spawn(spec: ProcessSpec) -> tuple[subprocess.Popen[bytes], int]:
    uid, gid = spec.user or (-1, -1)
    launch = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())]
    launch += [str(int(spec.death_signal)), str(uid), str(gid), *spec.command]
    spec.log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _rotate(spec.log_path)
    with spec.log_path.open("ab") as log:
        began = log.tell()
        process = subprocess.Popen(  # noqa: S603 - programs of our own wheels, no shell
            launch,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(spec.env),
            cwd=spec.cwd,
            # Ctrl-C in a terminal goes to its whole foreground group: the supervisor alone decides the order.
            start_new_session=True,
            umask=0o077,
        )
    return process, began


def _rotate(log_path: Path) -> None:
    if log_path.exists() and log_path.stat().st_size > MAX_LOG_BYTES:
        log_path.replace(log_path.with_suffix(log_path.suffix + ".old"))
