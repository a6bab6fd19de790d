"""Throttles log lines that repeat: with an unavailable broker, a client library reports 20 failures a second."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

LOG_INTERVAL_S = 10.0


class ThrottledLogger:
    """Logs one line of a kind per ``interval_s`` seconds, with the number of those suppressed."""

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
        self._suppressed: dict[str, int] = {}

    def warn(self, kind: str, text: object) -> None:
        """Log a warning, unless one of the same ``kind`` was logged within the interval."""
        now = self._clock()
        if now < self._next.get(kind, now):
            self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            return
        self._next[kind] = now + self._interval_s
        suppressed = self._suppressed.pop(kind, 0)
        more = f" ({suppressed} more like it before)" if suppressed else ""
        self._log.warning("%s: %s%s", self._prefix, text, more)
