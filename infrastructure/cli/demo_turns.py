"""The turns of a demo: its tables are shown at intervals, from the first answers until its time is over."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

POLL_INTERVAL_S = 1.0


class Signals(Protocol):
    """The part of ``StopSignals`` that turns need."""

    @property
    def requests(self) -> int: ...

    def wait(self, timeout_s: float) -> bool: ...


def wait_until(
    answered: Callable[[], bool], signals: Signals, within_s: float, clock: Callable[[], float] = time.monotonic
) -> None:
    """Call ``answered`` until it returns True, for at most ``within_s`` seconds or until a signal."""
    deadline = clock() + within_s
    while not answered() and clock() < deadline and not signals.wait(POLL_INTERVAL_S):
        pass


def repeat(
    show: Callable[[], None],
    signals: Signals,
    every_s: float,
    duration_s: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Call ``show`` every ``every_s`` seconds, for ``duration_s`` seconds (None: without end) or until a signal.

    A call that takes longer replaces the turns that it has missed, but never the last one.
    """
    last = math.inf if duration_s is None else duration_s // every_s
    began = clock()
    turn = 1
    while turn <= last:
        while (left := began + turn * every_s - clock()) > 0.0:
            if signals.wait(left):
                return
        if signals.requests:
            return
        show()
        turn = max(turn + 1, int(min((clock() - began) // every_s, last)))
