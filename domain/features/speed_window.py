from __future__ import annotations
from typing import NamedTuple


class WindowPing(NamedTuple):
    """One accepted ping inside the window; ordered by (t_ms, event_id)."""

    t_ms: int
    event_id: str
    latitude: float
    longitude: float
    accuracy_m: float | None
    speed_mps: float | None
