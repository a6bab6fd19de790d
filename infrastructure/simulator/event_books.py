"""Keeps books of what a simulation was acknowledged, and of what the log has: nothing lost, nothing double."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

MAX_REMEMBERED_EVENTS: Final = 500_000
"""Events of the log that are compared with later ones, the newest, and as many answers that wait for their check
(invariant 15). Ten riders send as many in half a day."""

EventName = tuple[str, str]
"""What identifies an event for its sender: the rider and the id of a ping, or the order and the key of a command."""


class BooksBalance(NamedTuple):
    """``acknowledged``: events that the server has answered to be recorded; ``waiting``: of those, not yet looked for.

    ``recorded``: different events in the log. ``lost``: acknowledged and not in the log. ``doubled``: in it again.
    ``dropped``: acknowledged, and never checked, because the log could not be read for too long.
    """

    acknowledged: int = 0
    waiting: int = 0
    recorded: int = 0
    lost: int = 0
    doubled: int = 0
    dropped: int = 0


class EventBooks:
    """One thread acknowledges, another reads the log; both may at any time."""

    def __init__(self, max_remembered: int = MAX_REMEMBERED_EVENTS) -> None:
        self._max = max_remembered
        self._lock = threading.Lock()
        self._waiting: OrderedDict[EventName, None] = OrderedDict()
        self._seen: OrderedDict[EventName, None] = OrderedDict()
        self._balance = BooksBalance()

    def acknowledge(self, events: Iterable[EventName]) -> None:
        """The server has answered that these are recorded, now or before."""
        with self._lock:
            for event in events:
                if event in self._waiting or event in self._seen:
                    continue  # a repeat
                self._waiting[event] = None
                self._balance = self._balance._replace(acknowledged=self._balance.acknowledged + 1)
                if len(self._waiting) > self._max:
                    self._waiting.popitem(last=False)
                    self._balance = self._balance._replace(dropped=self._balance.dropped + 1)

    def mark(self) -> list[EventName]:
        """The events to give to ``check`` after the log was read to its end. Call it before that read begins.

        An event is recorded before it is acknowledged, so a read that begins later has it.
        """
        with self._lock:
            return list(self._waiting)

    def record(self, events: Iterable[EventName]) -> None:
        """These are in the log, in its order; each event of the log is given once."""
        with self._lock:
            for event in events:
                if event in self._seen:
                    self._balance = self._balance._replace(doubled=self._balance.doubled + 1)
                    continue
                self._seen[event] = None
                self._balance = self._balance._replace(recorded=self._balance.recorded + 1)
                if len(self._seen) > self._max:
                    self._seen.popitem(last=False)

    def check(self, marked: Iterable[EventName]) -> None:
        """Count those of ``marked`` as lost that the log does not have. It was read to its end since ``mark``."""
        with self._lock:
            for event in marked:
                if event not in self._waiting:
                    continue
                del self._waiting[event]
                if event not in self._seen:
                    self._balance = self._balance._replace(lost=self._balance.lost + 1)

    def balance(self) -> BooksBalance:
        """The counts so far."""
        with self._lock:
            return self._balance._replace(waiting=len(self._waiting))
