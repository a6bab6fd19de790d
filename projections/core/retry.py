"""How long to wait between attempts: one schedule for all retries, and a policy that gives up in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from projections.core.ports import FenceConflict, PortUnavailable

T = TypeVar("T")

RETRY_DELAYS_S = (0.1, 0.2, 0.5, 1.0, 2.0)
"""The delays of a RetryPolicy after consecutive failures."""
SERVICE_RETRY_DELAYS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""The delays of a program that retries until it is stopped: no more than 5 s after a server has come back."""
MAX_UNAVAILABLE_S = 120.0
"""A restart of a server takes seconds; a server that is unavailable for longer needs a person."""
HEALTHY_AFTER_S = 5.0
"""An attempt that ran longer than this was healthy: its failure starts a new back-off sequence."""


class RetryDelays:
    """The delays after consecutive failures: each of ``delays_s`` once, then the last one again and again."""

    def __init__(self, delays_s: Sequence[float]) -> None:
        self._delays_s = delays_s
        self._failures = 0

    @property
    def is_first(self) -> bool:
        """Whether no attempt has failed since the start or the last ``reset``."""
        return self._failures == 0

    def next_s(self) -> float:
        """Count a failure. Returns the seconds to wait before the next attempt."""
        delay_s = self._delays_s[min(self._failures, len(self._delays_s) - 1)]
        self._failures += 1
        return delay_s

    def reset(self) -> None:
        """Start over: the last attempt was healthy, so an old fault must not slow down this retry."""
        self._failures = 0


class RetryPolicy:
    """Retries a call that failed because a server was unavailable or another worker moved the fence first.

    For work that a person waits for, so it gives up after MAX_UNAVAILABLE_S. ``on_retry`` gets one message for each
    back-off sequence.
    """

    def __init__(
        self,
        on_retry: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_retry = on_retry
        self._sleep = sleep
        self._clock = clock

    def call(self, attempt: Callable[[], T]) -> T:
        """Call ``attempt`` until it succeeds and return its result.

        Raises the last PortUnavailable or FenceConflict once they have lasted longer than MAX_UNAVAILABLE_S seconds.
        """
        failing_since = self._clock()
        delays = RetryDelays(RETRY_DELAYS_S)
        while True:
            started = self._clock()
            try:
                return attempt()
            except (PortUnavailable, FenceConflict) as error:
                if self._clock() - started > HEALTHY_AFTER_S:
                    failing_since = self._clock()
                    delays.reset()
                if self._clock() - failing_since > MAX_UNAVAILABLE_S:
                    raise
                if delays.is_first:
                    self._on_retry(f"{error}; trying again")
                self._sleep(delays.next_s())
