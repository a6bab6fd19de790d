"""Wait for a condition instead of for a time: a test that sleeps is either slow or wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from tests.support.time_limits import scaled_s

T = TypeVar("T")

FIRST_POLL_S = 0.02
MAX_POLL_S = 0.2
"""Probes often start HTTP requests and queries. The processes that are waited for need the CPU more."""


def eventually(probe: Callable[[], T], *, within_s: float = 20.0, every_s: float | None = None, what: str = "") -> T:
    """The first truthy value of ``probe``.

    Polls every ``every_s`` seconds, by default ever less often, at most every ``MAX_POLL_S``. Raises AssertionError
    with the last value after ``within_s`` seconds of a quiet machine (``scaled_s``).
    """
    began = time.monotonic()
    pause, pause_s = threading.Event(), FIRST_POLL_S if every_s is None else every_s
    while True:
        value = probe()
        if value:
            return value
        waited_s = time.monotonic() - began
        # The load is read when the limit is passed, not before: it is what has made the wait long.
        if waited_s > within_s and waited_s > scaled_s(within_s):
            raise AssertionError(f"not within {waited_s:.0f} s: {what or probe!r}; last value: {value!r}")
        pause.wait(pause_s)
        if every_s is None:
            pause_s = min(MAX_POLL_S, pause_s * 1.5)
