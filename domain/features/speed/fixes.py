"""Selects the fixes of a window that may be used for the current speed, and projects them on a plane in metres."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, radians, sin
from typing import Literal, NamedTuple

from domain.features.geo import EARTH_RADIUS_M
from domain.features.speed.window import WINDOW_PINGS, WindowPing

Reason = Literal["duplicate", "repeated", "stale", "inaccurate", "unreachable", "detour"]

STALE_MS = 180_000
"""A ping that is older than the newest by more than this is another ride: an upload after a gap must not dilute the
current speed."""

MAX_ACCURACY_M = 50.0
"""Beyond it a fix is a cell tower or a wall, and its error is no longer bell-shaped: the share of honest steps over
50 m/s rises from 0.1 % to 2.9 % (MobilityNet). Namma Yatri cuts at the same radius."""

MIN_ACCURACY_M = 3.0
"""Some phones report 0.1 m. Without this minimum one such fix would outweigh the other nine."""

DEFAULT_ACCURACY_M = 10.0
"""Assumed if a phone reports none (null, or 0 as Android does): a usual radius outdoors. With a smaller one, a parked
phone without accuracy moves; with a larger one, riders are hidden: 15 m lowers Dublin's scooters by another 0.1 m/s at
3 s a ping."""

RADIUS_TO_SIGMA = 1.0 / 1.515
"""A 68 % radius is 1.515 standard deviations of one axis: 1 − exp(−r²/2) = 0.683."""


class SpeedFix(NamedTuple):
    """One ping on the plane about the newest fix: its place in the window, seconds before that fix (≤ 0), metres to
    the east and north of it, and the variance of either in m²."""

    place: int
    t: float
    x: float
    y: float
    variance: float
    ping: WindowPing


def accuracy_m(ping: WindowPing) -> float:
    """The 68 % radius that is used, in metres."""
    reported = ping.accuracy_m
    if reported is None or not reported > 0.0:
        return DEFAULT_ACCURACY_M
    return max(reported, MIN_ACCURACY_M)


def spaced_as_sent(window: Sequence[WindowPing]) -> list[WindowPing]:
    """The window, with the pings of one reception spaced by their times as sent.

    A clock that is ahead has a wrong offset and right intervals. Pings that it sent in one request share their
    effective time, the reception, so they would have no speed. The latest of them keeps its time; the order never
    changes.
    """
    latest_ahead_ms: dict[int, int] = {}
    for ping in window:
        latest_ahead_ms[ping.t_ms] = ping.ahead_ms
    spaced: list[WindowPing] = []
    for ping in window:
        before_ms = latest_ahead_ms[ping.t_ms] - ping.ahead_ms if ping.ahead_ms else 0
        t_ms = max(ping.t_ms - before_ms, spaced[-1].t_ms) if spaced else ping.t_ms - before_ms
        spaced.append(ping._replace(t_ms=t_ms) if t_ms != ping.t_ms else ping)
    return spaced


def eligible(window: Sequence[WindowPing], rejected: dict[int, Reason]) -> list[int]:
    """Indices of the pings that are new, precise and recent.

    A position that equals the one before to the last bit was not measured again: a fused provider or a fast log
    tick sent it with a new time. Only its first sending has the right time. The first sending of the oldest position
    may have left a full window; if the phone repeats positions, the oldest one has no reliable time and is rejected
    too. With the time of a late repeat, a step of ten seconds would count as one, and the rider as ten times as fast.
    """
    oldest_ms = window[-1].t_ms - STALE_MS if window else 0
    indices: list[int] = []
    previous: WindowPing | None = None
    for index, ping in enumerate(window):
        if previous is not None and ping.order == previous.order:
            rejected[index] = "duplicate"
        elif previous is not None and _same_position(ping, previous):
            rejected[index] = "repeated"
        elif ping.t_ms < oldest_ms:
            rejected[index] = "stale"
        elif accuracy_m(ping) > MAX_ACCURACY_M:
            rejected[index] = "inaccurate"
        else:
            indices.append(index)
        previous = ping
    reasons = list(rejected.values())
    is_full = len(window) - reasons.count("duplicate") >= WINDOW_PINGS
    if indices and indices[0] == 0 and is_full and "repeated" in reasons:
        rejected[0] = "repeated"
        del indices[0]
    return indices


def _same_position(a: WindowPing, b: WindowPing) -> bool:
    return a.latitude == b.latitude and a.longitude == b.longitude


def on_plane(window: Sequence[WindowPing], indices: Sequence[int]) -> list[SpeedFix]:
    """Stereographic projection about the newest fix (J. P. Snyder, *Map Projections*, 1987, §21).

    Accurate to a millionth within kilometres, and without the discontinuities of degrees at the antimeridian and the
    poles.
    """
    if not indices:
        return []
    origin = window[indices[-1]]
    phi0 = radians(origin.latitude)
    sin0, cos0 = sin(phi0), cos(phi0)
    fixes: list[SpeedFix] = []
    for index in indices:
        ping = window[index]
        phi, turn = radians(ping.latitude), radians(ping.longitude - origin.longitude)
        sin1, cos1 = sin(phi), cos(phi)
        ahead = cos1 * cos(turn)
        # The antipode is at infinity. Kept finite, it is merely unreachable.
        scale = 2.0 * EARTH_RADIUS_M / max(1.0 + sin0 * sin1 + cos0 * ahead, 1e-9)
        sigma = accuracy_m(ping) * RADIUS_TO_SIGMA
        x, y = scale * cos1 * sin(turn), scale * (cos0 * sin1 - sin0 * ahead)
        fixes.append(SpeedFix(index, (ping.t_ms - origin.t_ms) / 1000.0, x, y, sigma * sigma, ping))
    return fixes
