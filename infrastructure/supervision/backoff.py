"""When to start a service again that has ended: at once the first time, ever later while it keeps ending."""

from __future__ import annotations

FIRST_S = 0.2
LONGEST_S = 5.0
# A service that ran this long had started well: its next end is a new story, not a crash loop.
HEALTHY_S = 30.0


class Backoff:
    """The pause before the next start of one service. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._failures = 0
        self._started_at = float("-inf")

    def started(self, now: float) -> None:
        """It was started at ``now``."""
        self._started_at = now

    def pause(self, now: float) -> float:
        """It was found ended at ``now``: seconds to wait before it is started again."""
        self._failures = 0 if now - self._started_at >= HEALTHY_S else self._failures
        pause = min(LONGEST_S, FIRST_S * 2.0**self._failures)
        # Bounded, so that a crash loop of months does not overflow the power.
        self._failures = min(self._failures + 1, 16)
        return pause
