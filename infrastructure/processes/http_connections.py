"""The open connections of one HTTP server: which are idle, and what becomes of one too many."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final, Protocol

from infrastructure.observability import metrics
from infrastructure.processes.http_limits import OVERFLOW_CONNECTIONS, ConnectionLimits

log = logging.getLogger("ridelog.http")

_LOG_INTERVAL_S: Final = 60.0


class Evictable(Protocol):
    def evict(self) -> None:
        """Close at once."""
        ...


class Place(Enum):
    """What a new connection gets."""

    SERVED = auto()
    REFUSED = auto()  # its first request is answered with 503
    NONE = auto()  # it is closed at once


class Connections:
    """Bounds their number. At the bound a new one replaces the one that has been idle longest, as nginx does it.

    Without that, a client could shut out all others with connections on which it sends nothing.
    """

    def __init__(self, limits: ConnectionLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._idle_since: dict[Evictable, float] = {}  # the longest idle first
        self._logged_at = -_LOG_INTERVAL_S

    def enter(self, one: Evictable, open_now: int) -> Place:
        """The place of a new connection; ``open_now`` counts it."""
        place = self._place(open_now)
        if place is Place.SERVED:
            self._idle_since[one] = self._clock()
        return place

    def set_idle(self, one: Evictable) -> None:
        self._idle_since.pop(one, None)
        self._idle_since[one] = self._clock()

    def set_busy(self, one: Evictable) -> None:
        self._idle_since.pop(one, None)

    def _place(self, open_now: int) -> Place:
        if open_now <= self._limits.max_connections:
            return Place.SERVED
        now = self._clock()
        longest = next(iter(self._idle_since.items()), None)
        if longest is not None and now - longest[1] >= self._limits.evict_after_s:
            del self._idle_since[longest[0]]
            longest[0].evict()
            return Place.SERVED
        if now - self._logged_at >= _LOG_INTERVAL_S:
            self._logged_at = now
            log.warning(
                "%d connections are open and none of them is idle: new ones get 503; see RIDELOG_MAX_CONNECTIONS",
                self._limits.max_connections,
            )
        if open_now <= self._limits.max_connections + OVERFLOW_CONNECTIONS:
            return Place.REFUSED
        metrics.HTTP_REFUSED.labels("too_many_connections").inc()
        return Place.NONE


class Timer:
    """At most one pending call."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pending: asyncio.TimerHandle | None = None

    def start(self, seconds: float, call: Callable[[], Any]) -> None:
        """Call ``call`` in ``seconds``, instead of what was pending."""
        self.cancel()
        self._pending = self._loop.call_later(seconds, call)

    def cancel(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
