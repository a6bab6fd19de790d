"""The view of a rider's speed window: the answer at a given instant."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, NamedTuple

from domain.features.speed.estimate import explain, robust_speed_mps
from domain.features.speed.path import path_speed_mps, window_ms
from domain.features.speed.window import SpeedState, WindowPing
from read_models.speed.state import decode
from read_models.view import ColumnType, View, ViewLimits

NAME = "speed"

Status = Literal["fresh", "stale", "expired"]

COLUMNS: dict[str, ColumnType] = {
    "rider_id": "text",
    "speed_mps": "float",
    "path_speed_mps": "float",
    "pings_in_window": "integer",
    "window_ms": "integer",
    "latitude": "float",
    "longitude": "float",
    "event_timestamp_ms": "integer",
    "version": "integer",
    "position": "integer",
    "age_ms": "integer",
    "status": "text",
}


REMEMBERED_STATES = 4_096
"""Latest states whose features are remembered, at most 2 KB each (invariant 15)."""


class SpeedFeatures(NamedTuple):
    """All values computed from a window. Speeds in m/s; ``newest`` is None if there is no ping."""

    speed_mps: float | None
    path_speed_mps: float | None
    pings: int
    window_ms: int | None
    newest: WindowPing | None
    version: int
    position: int


def status(age_ms: int, limits: ViewLimits) -> Status:
    if age_ms > limits.feature_ttl_ms:
        return "expired"
    return "stale" if age_ms > 2 * limits.target_freshness_ms else "fresh"


def features(state: SpeedState) -> SpeedFeatures:
    """Pure: a function of the state alone."""
    window = state.window
    return SpeedFeatures(
        robust_speed_mps(window),
        path_speed_mps(window),
        len(window),
        window_ms(window),
        window[-1] if window else None,
        state.version,
        state.position,
    )


def row(rider_id: str, found: SpeedFeatures, at_ms: int, limits: ViewLimits, allow_expired: bool) -> dict[str, Any]:
    """The values at ``at_ms``, under COLUMNS.

    Expiry is decided here, from the age, never by the store (invariant 13): values of an expired state are null
    unless ``allow_expired``. A rider without pings counts as expired.
    """
    last = found.newest
    age_ms = None if last is None else max(0, at_ms - last.t_ms)
    verdict: Status = "expired" if age_ms is None else status(age_ms, limits)
    shown = last is not None and (verdict != "expired" or allow_expired)
    return {
        "rider_id": rider_id,
        "speed_mps": found.speed_mps if shown else None,
        "path_speed_mps": found.path_speed_mps if shown else None,
        "pings_in_window": found.pings if shown or last is None else None,
        "window_ms": found.window_ms if shown else None,
        "latitude": last.latitude if shown and last is not None else None,
        "longitude": last.longitude if shown and last is not None else None,
        "event_timestamp_ms": None if last is None else last.t_ms,
        "version": found.version,
        "position": found.position,
        "age_ms": age_ms,
        "status": verdict,
    }


def answer(
    rider_id: str,
    data: bytes,
    *,
    now_ms: int,
    generation: int | None,
    limits: ViewLimits,
    allow_expired: bool = False,
) -> dict[str, Any]:
    """The answer of ``GET /riders/{rider_id}/speed`` at ``now_ms``, the one clock reading of the request."""
    values = row(rider_id, _features_of(data), now_ms, limits, allow_expired)
    values["generation"] = generation
    return values


@lru_cache(maxsize=REMEMBERED_STATES)
def _features_of(data: bytes) -> SpeedFeatures:
    """Features are a function of the bytes alone, and a client that waits for a rider asks more often than it pings."""
    return features(decode(data))


def explained(state: SpeedState) -> list[dict[str, Any]]:
    """Each ping of the window in order: its location and time, and its weight or the reason of its rejection."""
    return [
        {
            "event_id": ping.event_id,
            "event_timestamp_ms": ping.t_ms,
            "latitude": ping.latitude,
            "longitude": ping.longitude,
            "accuracy_meters": ping.accuracy_m,
            "speed_mps": ping.speed_mps,
            "weight": round(verdict.weight, 6),
            "rejected": verdict.rejected,
        }
        for ping, verdict in zip(state.window, explain(state.window), strict=True)
    ]


VIEW = View(
    columns=COLUMNS,
    features=features,
    row=row,
    explain=explained,
)
