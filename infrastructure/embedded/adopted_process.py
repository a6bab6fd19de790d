"""A child that another process has forked for this one. Has the part of ``subprocess.Popen`` that a child needs."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from signal import Signals

MAX_POLL_INTERVAL_S = 0.05


class AdoptedProcess:
    """A child of this process, by its pid. Raises ChildProcessError if it is none. Several threads may use it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._returncode: int | None = None
        self._lock = threading.Lock()
        self.poll()

    def poll(self) -> int | None:
        """The exit code, negative for the signal that ended it; None while it runs."""
        with self._lock:
            if self._returncode is None:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
                if ended:
                    self._returncode = os.waitstatus_to_exitcode(status)
            return self._returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end. Raises subprocess.TimeoutExpired after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause_s = 0.0005
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_POLL_INTERVAL_S)
        return code

    def send_signal(self, sig: Signals) -> None:
        """Send a signal. Does nothing if the process has ended: its pid is not reused before ``poll`` has seen that."""
        with self._lock:
            if self._returncode is None:
                os.kill(self.pid, sig)
