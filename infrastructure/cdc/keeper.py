"""When the mark is stored, and what may be confirmed to the slot because it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


class Keeper(Protocol):
    """Where the mark is kept."""

    def keep(self, position: int | None, lsn: int) -> int:
        """Store both now or soon; the LSN that is stored, which is what may be confirmed."""
        ...


class MarkKeeper:
    """Stores the mark at most once in ``every_s`` seconds, by ``save``, and only if it or the LSN moved."""

    def __init__(
        self, save: Callable[[int, int], None], every_s: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._save = save
        self._every_s = every_s
        self._clock = clock
        self._next = 0.0
        self._stored = (-1, 0)

    def keep(self, position: int | None, lsn: int) -> int:
        """As ``Keeper``; a position that is not known is not stored, and then nothing is confirmed either."""
        now = self._clock()
        if position is not None and now >= self._next and (position, lsn) != self._stored:
            self._save(position, lsn)
            self._next, self._stored = now + self._every_s, (position, lsn)
        return self._stored[1]
