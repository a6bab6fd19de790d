"""Tells a producer that makes no progress any more from one that is merely slow. Pure: time is given."""

from __future__ import annotations

STALLED_AFTER_S = 30.0
"""Seen: after a restart of Apache Kafka, which was back within seconds, librdkafka's producer acknowledged nothing for
87 s, and would not have. With Kafka away a new producer fares no worse than the old one."""
UNSEEN_AFTER_S = 1.0
"""One look tells of no more time than this: whoever was stopped himself must not blame the producer."""


class Stalled:
    """Looked at in every round, with the records that are in flight."""

    def __init__(self) -> None:
        self._in_flight = 0
        self._looked_at = 0.0
        self._seconds = 0.0

    def look(self, in_flight: int, now: float) -> float:
        """For how long, seconds, the same number of records has been in flight; 0.0 if none is. ``now``: monotonic."""
        moved = in_flight == 0 or in_flight != self._in_flight
        self._seconds = 0.0 if moved else self._seconds + min(now - self._looked_at, UNSEEN_AFTER_S)
        self._in_flight, self._looked_at = in_flight, now
        return self._seconds
