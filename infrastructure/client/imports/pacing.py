"""Recorded tracks at a multiple of the speed at which they were ridden."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

EARLY_S = 0.1
"""Rows due within this are sent together: a request for each row would pace the network, not the riders."""


class Pacer:
    """Says how long to wait before a row, so that event time runs ``speedup`` times as fast as the clock.

    The first row starts the clock. Rows that go back in event time (another rider's track) are due at once, and so
    are rows after ``latest_ms``: to wait for the 2099 of a broken clock would never end, and the server refuses it.
    """

    def __init__(self, speedup: float, clock: Callable[[], float], latest_ms: float = inf) -> None:
        """``clock`` in seconds, monotonic; ``latest_ms`` an event time in epoch milliseconds."""
        self._latest_ms = latest_ms
        self._speedup = speedup
        self._clock = clock
        self._first_ms: int | None = None
        self._began = 0.0

    def wait_s(self, event_ms: int | None) -> float:
        """Seconds until a row of this event time is due; 0 if it is, or has no time."""
        if event_ms is None or event_ms > self._latest_ms:
            return 0.0
        if self._first_ms is None:
            self._first_ms, self._began = event_ms, self._clock()
        due = self._began + (event_ms - self._first_ms) / 1000.0 / self._speedup
        wait = due - self._clock()
        return wait if wait > EARLY_S else 0.0
