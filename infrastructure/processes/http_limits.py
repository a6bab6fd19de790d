"""Bounds on what HTTP connections may hold: bytes of a head, time, sockets (invariant 15)."""

from __future__ import annotations

import resource
from typing import Final, NamedTuple

RESERVED_FILES: Final = 256
"""Open files that are not connections: databases, logs, shared metrics, the event loop."""

OVERFLOW_CONNECTIONS: Final = 64
"""Connections above the bound that are accepted to be answered with 503; any more are closed without an answer."""


class ConnectionLimits(NamedTuple):
    """Bounds of one HTTP server. Times are in seconds.

    ``max_head_bytes``: request line and headers of a request, and trailers. Without this bound the parser copies an
    endless header again with each part that arrives: 69 MB stopped every other request for 38 s.
    ``head_timeout_s``: from the first byte of a head to its end, and from the connection to the first byte.
    ``idle_timeout_s``: from a response to the next request. It does not count while a response is under way, so a
    response that is a stream of events has no limit from it.
    ``discard_timeout_s``: for the rest of a body that was answered before it was read.
    ``stall_timeout_s``: a response of which the client takes nothing. The kernel reports progress only once it has sent
    a third of its buffer of 4 MB, which takes a phone at 15 kB/s 90 s.
    ``evict_after_s``: at ``max_connections`` a new one replaces the one that has been idle longest, if so long.
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
    """The bound on connections that ``open_files`` leaves room for, at most ``wanted``."""
    return max(1, min(wanted, open_files - RESERVED_FILES - OVERFLOW_CONNECTIONS))
