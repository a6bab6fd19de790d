"""Lets the writer threads of one process execute commands one after the other, in turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class WriterTurns:
    """A fair lock around the commands of one process: pings and deliveries share the aggregates in memory.

    A thread that waits gets the next turn, also while the other one has work without end: with a plain lock the thread
    that has just released it usually takes it again, and a dispatcher would wait for a gap between the pings.
    """

    def __init__(self) -> None:
        self._next = threading.Lock()
        """Held by the thread whose turn is next, while it waits for ``_now``."""
        self._now = threading.Lock()

    def in_turn(self, record: Callable[[Sequence[T]], list[R]]) -> Callable[[Sequence[T]], list[R]]:
        """``record``, which waits for its turn."""

        def recorded(items: Sequence[T]) -> list[R]:
            with self._next:
                self._now.acquire()
            try:
                return record(items)
            finally:
                self._now.release()

        return recorded
