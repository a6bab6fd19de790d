"""Turns SIGINT, SIGTERM and SIGHUP into something that the main thread can wait for."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self


class StopRequested(BaseException):
    """Raised in the main thread on a stop signal while ``interrupting``. It is not an error of any step."""


class StopSignals:
    """Counts stop signals between enter and exit, and wakes ``wait`` on them and on the end of a child."""

    def __init__(self) -> None:
        self.requests = 0
        self._interrupting = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            # Keep SIGHUP ignored for nohup. A shell's "&" also ignores SIGINT, but there a kill -INT must work.
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._reader.close()
        self._writer.close()

    def wait(self, timeout_s: float) -> bool:
        """Wait for a signal for at most ``timeout_s`` seconds. Returns whether a stop has been requested so far."""
        ready, _, _ = select.select([self._reader], [], [], timeout_s)
        if ready:
            self._reader.recv(4096)
        return self.requests > 0

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Within it a stop signal raises StopRequested at once, so that a slow start can be aborted."""
        if self.requests:
            raise StopRequested
        self._interrupting = True
        try:
            yield
        finally:
            self._interrupting = False

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGCHLD:
            return
        self.requests += 1
        if self._interrupting:
            self._interrupting = False
            raise StopRequested
