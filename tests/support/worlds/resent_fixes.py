"""Tracks of a phone that resends its last fix with new times, derived from real tracks."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from math import cos, hypot, radians

from domain.features.speed.window import WINDOW_PINGS, WindowPing

TICK_MS = 1_000
TRUTH_MS = 4_000
"""The true speed at an instant is the displacement between the fixes this long before and after it, over time."""
MAX_TRUTH_SPAN_MS = 4 * TRUTH_MS
"""Fixes farther apart than this do not say how fast the vehicle was between them."""


def resend(pings: Sequence[WindowPing], counts: Sequence[int], rng: random.Random) -> list[WindowPing]:
    """Each fix, then a random count (of ``counts``) of repeats, one per tick; fixes in that time are not sent."""
    sent: list[WindowPing] = []
    silent_until_ms = -1
    for ping in pings:
        if ping.t_ms <= silent_until_ms:
            continue
        count = rng.choice(counts)
        again = range(1, count + 1)
        sent.append(ping)
        sent += [ping._replace(t_ms=ping.t_ms + TICK_MS * i, event_id=f"{rng.getrandbits(128):032x}") for i in again]
        silent_until_ms = ping.t_ms + TICK_MS * count
    return sorted(sent, key=lambda ping: ping[:2])


def moving_windows(
    sent: Sequence[WindowPing], truth: Sequence[WindowPing], min_mps: float
) -> Iterator[tuple[list[WindowPing], float]]:
    """Windows of a vehicle that is faster than ``min_mps`` at both ends, with its speed at the end in m/s."""
    times = [ping.t_ms for ping in truth]
    for end in range(WINDOW_PINGS, len(sent) + 1):
        window = list(sent[end - WINDOW_PINGS : end])
        first, last = (_speed_mps(truth, times, ping.t_ms) for ping in (window[0], window[-1]))
        if first is not None and last is not None and min(first, last) > min_mps:
            yield window, last


def metres(a: WindowPing, b: WindowPing) -> float:
    """Distance on the plane, in metres."""
    north = b.latitude - a.latitude
    east = (b.longitude - a.longitude) * cos(radians(a.latitude))
    return hypot(north, east) * 111_195


def _speed_mps(truth: Sequence[WindowPing], times: Sequence[int], t_ms: int) -> float | None:
    before, after = bisect_right(times, t_ms - TRUTH_MS) - 1, bisect_left(times, t_ms + TRUTH_MS)
    if before < 0 or after == len(truth):
        return None
    a, b = truth[before], truth[after]
    span_ms = b.t_ms - a.t_ms
    return metres(a, b) / span_ms * 1000 if span_ms <= MAX_TRUTH_SPAN_MS else None
