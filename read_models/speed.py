"""The speed read model: the answer that is made of a rider's kept state at a given instant."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from domain.features.path_speed import path_speed_mps, window_ms
from domain.features.speed_estimate import robust_speed_mps
from read_models.speed_state import decode

NAME = "speed"

Status = Literal["fresh", "stale", "expired"]


class Limits(NamedTuple):
    """Ages in milliseconds: stale past twice the target freshness, expired past the time to live."""

    target_freshness_ms: int = 15_000
    feature_ttl_ms: int = 7_200_000


def status(age_ms: int, limits: Limits) -> Status:
    if age_ms > limits.feature_ttl_ms:
        return "expired"
    return "stale" if age_ms > 2 * limits.target_freshness_ms else "fresh"


def answer(
    rider_id: str,
    data: bytes,
    *,
    now_ms: int,
    generation: int,
    limits: Limits,
    allow_expired: bool = False,
) -> dict[str, Any]:
    """The answer of ``GET /riders/{rider_id}/speed`` at ``now_ms``, the one clock reading of the request.

    Expiry is judged here, from the age, never by the store (invariant 13): values of an expired state are null
    unless ``allow_expired``. A rider without pings has nothing to be fresh, and is expired.
    """
    state = decode(data)
    window = state.window
    last = window[-1] if window else None
    age_ms = None if last is None else now_ms - last.t_ms
    verdict: Status = "expired" if age_ms is None else status(age_ms, limits)
    shown = window if verdict != "expired" or allow_expired else ()
    newest = shown[-1] if shown else None
    return {
        "rider_id": rider_id,
        "speed_mps": robust_speed_mps(shown),
        "path_speed_mps": path_speed_mps(shown),
        "pings_in_window": len(window) if shown or not window else None,
        "window_ms": window_ms(shown),
        "latitude": None if newest is None else newest.latitude,
        "longitude": None if newest is None else newest.longitude,
        "event_timestamp_ms": None if last is None else last.t_ms,
        "version": state.version,
        "position": state.position,
        "age_ms": age_ms,
        "status": verdict,
        "generation": generation,
    }
