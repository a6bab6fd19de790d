"""Pings and deliveries of one process are recorded in turn, so that both decide on the same riders in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class WriterTurn:
    """Lets one of two writer threads record at a time; neither can record twice while the other waits.

    A plain lock is not enough: a busy thread may take it again before a waiting one wakes up, so that commands would
    wait for as long as pings come. Here the waiting thread holds the entrance, and the busy one has to queue behind it.
    """

    def __init__(self) -> None:
        self._entrance = threading.Lock()
        self._turn = threading.Lock()

    def taking(self, record: Callable[[Sequence[Item]], list[Outcome]]) -> Callable[[Sequence[Item]], list[Outcome]]:
        """``record``, called while no other function of this turn runs. It raises what ``record`` raises."""

        def in_turn(items: Sequence[Item]) -> list[Outcome]:
            with self._entrance:
                self._turn.acquire()
            try:
                return record(items)
            finally:
                self._turn.release()

        return in_turn
