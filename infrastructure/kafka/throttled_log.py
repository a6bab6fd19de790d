"""Log what a client library reports again and again once in a while: a broker that is away fails 20 times a second."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOG_INTERVAL_S = 10.0
KAFKA_PYTHON = logging.getLogger("kafka")


class ThrottledLogger:
    """One line of a kind in ``LOG_INTERVAL_S`` seconds, with the number of those left out."""

    def __init__(
        self,
        log: logging.Logger,
        prefix: str,
        clock: Callable[[], float] = time.monotonic,
        interval_s: float = LOG_INTERVAL_S,
    ) -> None:
        self._log = log
        self._prefix = prefix
        self._clock = clock
        self._interval_s = interval_s
        self._next: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warn(self, kind: str, text: object) -> None:
        """``kind`` decides which lines count as the same."""
        now = self._clock()
        if now < self._next.get(kind, now):
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._next[kind] = now + self._interval_s
        left_out = self._left_out.pop(kind, 0)
        more = f" ({left_out} more like it before)" if left_out else ""
        self._log.warning("%s: %s%s", self._prefix, text, more)


class _Silence:
    """Who asks for silence now. Two may at once: the level goes back when the last one has ended, to what it was."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.level = logging.NOTSET


_silence = _Silence()


@contextmanager
def silent_kafka_python() -> Iterator[None]:
    """Within it kafka-python logs nothing: for calls whose failure is raised, and told once, by our own words."""
    with _silence.lock:
        if not _silence.users:
            _silence.level = KAFKA_PYTHON.level
            KAFKA_PYTHON.setLevel(logging.CRITICAL + 1)
        _silence.users += 1
    try:
        yield
    finally:
        with _silence.lock:
            _silence.users -= 1
            if not _silence.users:
                KAFKA_PYTHON.setLevel(_silence.level)
