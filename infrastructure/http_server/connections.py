"""Bounds the connections of one HTTP server: their number, and the bytes and time each may take (invariant 15)."""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final, NamedTuple, Protocol

from infrastructure.observability import metrics

RESERVED_FILES: Final = 256
"""Open files that are no connections: databases, logs, shared metrics, the event loop."""

OVERFLOW_CONNECTIONS: Final = 64
"""Connections above the bound that get a 503. More connections are closed without an answer."""


class ConnectionLimits(NamedTuple):
    """Bounds of one HTTP server. Times are in seconds.

    ``max_head_bytes``: request line and headers of a request, and trailers. Without this bound the parser copies an
    endless header again with each part that arrives: 69 MB stopped every other request for 38 s.
    ``head_timeout_s``: from the first byte of a head to its end, and from the connection to the first byte.
    ``idle_timeout_s``: from a response to the next request. It does not run during a response, so it does not limit a
    response that is a stream of events.
    ``discard_timeout_s``: for the rest of a body whose request was answered before the body was read.
    ``stall_timeout_s``: for a response of which the client reads nothing. The kernel reports progress only once it has
    sent a third of its buffer of 4 MB, which takes a phone at 15 kB/s 90 s.
    ``evict_after_s``: at ``max_connections`` a new connection replaces the one that has been idle longest, if it has
    been idle for at least this time.
    """

    max_head_bytes: int = 64 * 1024
    head_timeout_s: float = 20.0
    idle_timeout_s: float = 30.0
    discard_timeout_s: float = 10.0
    stall_timeout_s: float = 120.0
    evict_after_s: float = 1.0
    max_connections: int = 4096


def raise_open_files(wanted: int) -> int:
    """Raise the soft limit on open files to ``wanted``, as far as the hard limit allows. Returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if target <= soft:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    except (OSError, ValueError):
        return soft  # some systems allow less than the hard limit that they report
    return target


def connections_within(open_files: int, wanted: int) -> int:
    """The bound on connections for which ``open_files`` suffices, at most ``wanted``."""
    return max(1, min(wanted, open_files - RESERVED_FILES - OVERFLOW_CONNECTIONS))


log = logging.getLogger("ridelog.http")

_LOG_INTERVAL_S: Final = 60.0


class Evictable(Protocol):
    def evict(self) -> None:
        """Close the connection at once."""
        ...


class ConnectionSlot(Enum):
    """How a new connection is treated."""

    SERVED = auto()  # its requests reach the application
    REFUSED = auto()  # its first request is answered with 503
    NONE = auto()  # it is closed at once


class Connections:
    """Bounds the number of connections. At the bound a new one replaces the one idle longest, as in nginx.

    Otherwise a client could exclude all others with connections on which it sends nothing.
    """

    def __init__(self, limits: ConnectionLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._idle_since: dict[Evictable, float] = {}  # the one that has been idle longest comes first
        self._logged_at = -_LOG_INTERVAL_S

    def enter(self, one: Evictable, open_now: int) -> ConnectionSlot:
        """Admit a new connection, or not. ``open_now`` includes it."""
        slot = self._assign_slot(open_now)
        if slot is ConnectionSlot.SERVED:
            self._idle_since[one] = self._clock()
        return slot

    def set_idle(self, one: Evictable) -> None:
        self._idle_since.pop(one, None)
        self._idle_since[one] = self._clock()

    def set_busy(self, one: Evictable) -> None:
        self._idle_since.pop(one, None)

    def _assign_slot(self, open_now: int) -> ConnectionSlot:
        if open_now <= self._limits.max_connections:
            return ConnectionSlot.SERVED
        now = self._clock()
        longest = next(iter(self._idle_since.items()), None)
        if longest is not None and now - longest[1] >= self._limits.evict_after_s:
            del self._idle_since[longest[0]]
            longest[0].evict()
            return ConnectionSlot.SERVED
        if now - self._logged_at >= _LOG_INTERVAL_S:
            self._logged_at = now
            log.warning(
                "%d connections are open and none of them is idle: new ones get 503; see RIDELOG_MAX_CONNECTIONS",
                self._limits.max_connections,
            )
        if open_now <= self._limits.max_connections + OVERFLOW_CONNECTIONS:
            return ConnectionSlot.REFUSED
        metrics.HTTP_REFUSED.labels("too_many_connections").inc()
        return ConnectionSlot.NONE


class Timer:
    """Schedules at most one call at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pending: asyncio.TimerHandle | None = None

    def start(self, seconds: float, call: Callable[[], Any]) -> None:
        """Schedule ``call`` in ``seconds``, instead of the pending call."""
        self.cancel()
        self._pending = self._loop.call_later(seconds, call)

    def cancel(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
