"""The speed along the path through the window, exactly as the contract defines it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from domain.features.geo import haversine_mm
from domain.features.speed.window import WindowPing


def path_mm(window: Sequence[WindowPing]) -> int:
    """Length of the path through the window, each step rounded to whole millimetres."""
    return sum(haversine_mm(a.latitude, a.longitude, b.latitude, b.longitude) for a, b in pairwise(window))


def window_ms(window: Sequence[WindowPing]) -> int | None:
    """Milliseconds from the first to the last ping; None for an empty window."""
    return window[-1].t_ms - window[0].t_ms if window else None


def path_speed_mps(window: Sequence[WindowPing]) -> float | None:
    """Path length over time, mm ÷ ms; None below two pings or over no time.

    All noise counts as movement: a parked phone has a path speed of metres per second.
    """
    span_ms = window_ms(window)
    if len(window) < 2 or not span_ms:
        return None
    return path_mm(window) / span_ms
