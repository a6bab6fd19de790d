"""A consumer that hands out what the broker has, not only what the client has fetched already."""

from __future__ import annotations

import time
from collections.abc import Callable

from infrastructure.passing_topic import PassingTopic
from projections.ports import Record, Topic

MORE_WITHIN_S = 0.05
"""A broker that has more answers a fetch within this."""
LONGEST_S = 0.5
"""A stream that never pauses for that long would hold the first record until the batch is full."""


class GatheredTopic(PassingTopic):
    """``projections.ports.Topic``.

    A batch ends when it is full, when nothing more comes for MORE_WITHIN_S, or LONGEST_S after its first record.
    """

    def __init__(self, topic: Topic, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(topic)
        self._clock = clock

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        records = more = self._topic.poll(max_records, timeout_s)
        deadline = self._clock() + LONGEST_S
        while more and len(records) < max_records and self._clock() < deadline:
            more = self._topic.poll(max_records - len(records), MORE_WITHIN_S)
            records = records + more
        return records
