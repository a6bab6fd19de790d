"""Waiting out a server that is away: for work that a person waits for, with an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from projections.core.ports import FenceConflict, PortUnavailable

T = TypeVar("T")

RETRY_DELAYS_S = (0.1, 0.2, 0.5, 1.0, 2.0)
UNAVAILABLE_DELAY_S = 120.0
"""A restart of a server takes seconds; after so long somebody should look at it."""
HEALTHY_AFTER_S = 5.0
"""An attempt that took so long had its server for a while: what ended it is a new story."""


class RetryPolicy:
    """Calls again what failed because a server was away or another worker was quicker."""

    def __init__(
        self,
        tell: Callable[[str], None],
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._pause = pause
        self._clock = clock

    def call(self, attempt: Callable[[], T]) -> T:
        """Call ``attempt`` until it succeeds and return its result.

        Raises its last PortUnavailable or FenceConflict after UNAVAILABLE_DELAY_S seconds of them.
        """
        failing_since = self._clock()
        failures = 0
        while True:
            began = self._clock()
            try:
                return attempt()
            except (PortUnavailable, FenceConflict) as error:
                if self._clock() - began > HEALTHY_AFTER_S:
                    failing_since, failures = self._clock(), 0
                if self._clock() - failing_since > UNAVAILABLE_DELAY_S:
                    raise
                if failures == 0:
                    self._tell(f"{error}; trying again")
                self._pause(RETRY_DELAYS_S[min(failures, len(RETRY_DELAYS_S) - 1)])
                failures += 1
