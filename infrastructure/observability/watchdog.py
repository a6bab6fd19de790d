"""Tells a worker that is alive and does not move from one that has nothing to do. Pure: time is given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

STUCK_AFTER_S = 30.0
GIVE_UP_AFTER_S = 120.0
"""A worker that is stuck for so long is started anew: nothing is lost by it, its fences are in the store."""
END_AFTER_S = 60.0
"""The same of one that hangs, by ending its process. Longer than any wait of its own: two time-outs of a lock are 40 s.
Seen: after Apache Kafka had slept for 12 s, two of three consumers never came back from a call into librdkafka."""

UNSEEN_AFTER_S = 10.0
"""One look tells of no more time than this. A process that was stopped as a whole finds its workers as it left them,
and must not end for the time in which nobody ran, the watchdog included."""


class WorkSample(NamedTuple):
    """What a worker shows of itself. ``beats`` grows with every round, ``applied`` with every event."""

    beats: int
    applied: int
    lag: int


class WatchdogVerdict(NamedTuple):
    """``stuck``: it goes round, events wait, none is applied. ``hangs``: it does not even go round."""

    state: Literal["moving", "stuck", "hangs"]
    seconds: float

    @property
    def give_up(self) -> bool:
        return self.seconds >= {"moving": math.inf, "stuck": GIVE_UP_AFTER_S, "hangs": END_AFTER_S}[self.state]

    @property
    def words(self) -> str:
        if self.state == "hangs":
            return f"hangs: no sign of life for {self.seconds:.0f} s"
        return f"stuck: events wait, and none was applied for {self.seconds:.0f} s"


@dataclass
class _SeenWork:
    sample: WorkSample
    looked_at: float
    round_at: float
    moved_at: float


class Watchdog:
    """Looks at samples of several workers, in any rhythm. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._seen: dict[str, _SeenWork] = {}

    def look(self, name: str, sample: WorkSample, now: float) -> WatchdogVerdict:
        seen = self._seen.get(name)
        if seen is None:
            self._seen[name] = _SeenWork(sample, now, now, now)
            return WatchdogVerdict("moving", 0.0)
        unseen = max(0.0, now - seen.looked_at - UNSEEN_AFTER_S)
        seen.looked_at = now
        seen.round_at += unseen
        seen.moved_at += unseen
        applied = sample.applied != seen.sample.applied
        if applied or sample.beats != seen.sample.beats:
            seen.round_at = now
        if applied or sample.lag == 0:
            seen.moved_at = now
        seen.sample = sample
        if now - seen.round_at >= STUCK_AFTER_S:
            return WatchdogVerdict("hangs", now - seen.round_at)
        if now - seen.moved_at >= STUCK_AFTER_S:
            return WatchdogVerdict("stuck", now - seen.moved_at)
        return WatchdogVerdict("moving", 0.0)

    def forget(self, name: str) -> None:
        """It was stopped on purpose."""
        self._seen.pop(name, None)
