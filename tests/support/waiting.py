"""Wait for a condition instead of for a time: a test that sleeps is either slow or wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(probe: Callable[[], T], *, within_s: float = 20.0, every_s: float = 0.05, what: str = "") -> T:
    """The first truthy value of ``probe``; AssertionError with the last value after ``within_s`` seconds."""
    deadline = time.monotonic() + within_s
    pause = threading.Event()
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what or probe!r}; last value: {value!r}")
        pause.wait(every_s)
