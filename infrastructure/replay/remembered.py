"""Remembers results of pure functions by their arguments, few and not for long. Safe to share between threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Calls ``make`` for arguments that it was not called with lately.

    ``make`` is a function of its argument alone, so a remembered result is the one that a new call would give. An error
    is not remembered. Arguments may say where a person was: each is forgotten, by the next call, if it was not asked
    for during ``max_age_s``; and there are never more than ``max_entries`` (invariant 15).
    """

    def __init__(
        self,
        make: Callable[[K], V],
        *,
        max_entries: int,
        max_age_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._max_generation = max_entries // 2
        self._max_age_s = max_age_s
        self._monotonic = monotonic
        # Two generations: what is asked for in neither is dropped with the older one, in one step.
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._began_s = monotonic()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __call__(self, argument: K) -> V:
        """The result for ``argument``. Raises what ``make`` raises."""
        if self._monotonic() - self._began_s >= self._max_age_s / 2:
            self._forget_unused()
        young, old = self._young, self._old
        if argument in young:
            return young[argument]
        # Outside of the lock: another thread that makes the same result makes an equal one.
        found = old[argument] if argument in old else self._make(argument)
        with self._lock:
            if len(self._young) >= self._max_generation:
                self._start_generation()
            self._young[argument] = found
        return found

    def _forget_unused(self) -> None:
        with self._lock:
            age_s = self._monotonic() - self._began_s
            if age_s >= self._max_age_s:
                self._young = {}
            if age_s >= self._max_age_s / 2:
                self._start_generation()

    def _start_generation(self) -> None:
        self._old, self._young = self._young, {}
        self._began_s = self._monotonic()
