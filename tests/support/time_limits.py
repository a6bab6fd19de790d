"""Time limits of tests. They end a test that hangs, and never one whose machine is slow or busy."""

from __future__ import annotations

import os
import time
from functools import cache

ROUNDS = 500_000
QUIET_LOOP_S = 0.03
"""CPU time of ``ROUNDS`` on the machine, when quiet, for which the limits in the tests are written."""
MAX_FACTOR = 5.0
"""A test that hangs fails after this multiple of its limit, whatever the load."""
LONGEST_S = 500.0
"""No scaled limit is longer: the test's own message is to come before pytest's time limit of ten minutes."""


def scaled_s(limit_s: float) -> float:
    """The limit for this machine under its present load: never less than ``limit_s`` seconds."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return stretched_s(limit_s, slowness(), load)


def stretched_s(limit_s: float, slowness: float, load: float) -> float:
    """``limit_s`` times ``slowness`` and, if processes wait for a core, times ``load`` (runnable processes a core)."""
    factor = min(MAX_FACTOR, max(1.0, slowness) * max(1.0, load))
    return max(limit_s, min(limit_s * factor, LONGEST_S))


@cache
def slowness() -> float:
    """How many times longer a core of this machine needs than the one for which the limits are written.

    Measured once a session, in CPU time: the load counts separately, because it changes during a session.
    """
    return min(_loop_s() for _ in range(3)) / QUIET_LOOP_S


def _loop_s() -> float:
    began, total = time.process_time(), 0
    for number in range(ROUNDS):
        total += number * number % 7
    return time.process_time() - began
