"""Distinguishes a worker that is alive and makes no progress from an idle one. Pure: time is an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

STUCK_AFTER_S = 30.0
GIVE_UP_AFTER_S = 120.0
"""A worker that is stuck for so long is restarted. Nothing is lost, because its fences are in the store."""
END_AFTER_S = 60.0
"""A process with a worker that hangs for so long ends. Longer than any wait of a worker: two lock time-outs are 40 s.
Observed: after Apache Kafka had slept for 12 s, two of three consumers never returned from a call into librdkafka."""

MAX_OBSERVED_S = 10.0
"""Time counted per observation, at most. If the whole process was paused, workers and watchdog alike, the pause must
not count as a stall and end the process."""


class WorkState(Enum):
    """What a worker does."""

    MOVING = "moving"  # applies events, or has none to apply
    STUCK = "stuck"  # its loop runs, events wait, none is applied
    HANGS = "hangs"  # its loop does not run


class WorkSample(NamedTuple):
    """Progress of a worker. ``beats`` grows with every round of its loop, ``applied`` with every event."""

    beats: int
    applied: int
    lag: int


class WatchdogVerdict(NamedTuple):
    """State of a worker, and for how many seconds it has made no progress."""

    state: WorkState
    seconds: float

    @property
    def give_up(self) -> bool:
        """Whether the worker must be restarted (stuck) or its process ended (hangs)."""
        limits = {WorkState.MOVING: math.inf, WorkState.STUCK: GIVE_UP_AFTER_S, WorkState.HANGS: END_AFTER_S}
        return self.seconds >= limits[self.state]

    @property
    def message(self) -> str:
        """The state as the stage reports it."""
        if self.state is WorkState.HANGS:
            return f"hangs: no sign of life for {self.seconds:.0f} s"
        return f"stuck: events wait, and none was applied for {self.seconds:.0f} s"


@dataclass
class _SeenWork:
    sample: WorkSample
    observed_at: float
    round_at: float
    moved_at: float


class Watchdog:
    """Classifies samples of several workers, taken at any intervals. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._seen: dict[str, _SeenWork] = {}

    def observe(self, name: str, sample: WorkSample, now: float) -> WatchdogVerdict:
        """Take a sample of the worker ``name``, and classify what it does."""
        seen = self._seen.get(name)
        if seen is None:
            self._seen[name] = _SeenWork(sample, now, now, now)
            return WatchdogVerdict(WorkState.MOVING, 0.0)
        paused = max(0.0, now - seen.observed_at - MAX_OBSERVED_S)
        seen.observed_at = now
        seen.round_at += paused
        seen.moved_at += paused
        applied = sample.applied != seen.sample.applied
        if applied or sample.beats != seen.sample.beats:
            seen.round_at = now
        if applied or sample.lag == 0:
            seen.moved_at = now
        seen.sample = sample
        if now - seen.round_at >= STUCK_AFTER_S:
            return WatchdogVerdict(WorkState.HANGS, now - seen.round_at)
        if now - seen.moved_at >= STUCK_AFTER_S:
            return WatchdogVerdict(WorkState.STUCK, now - seen.moved_at)
        return WatchdogVerdict(WorkState.MOVING, 0.0)

    def forget(self, name: str) -> None:
        """Forget a worker that was stopped on purpose."""
        self._seen.pop(name, None)
