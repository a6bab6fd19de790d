"""The view of a rider's latest location. Apart from ``state``, which the fold's digest pins."""

from __future__ import annotations

from typing import Any

from domain.features.latest_location import LocationState
from read_models.locations.state import values
from read_models.view import ColumnType, View, ViewLimits

COLUMNS: dict[str, ColumnType] = {
    "rider_id": "text",
    "latitude": "float",
    "longitude": "float",
    "accuracy_meters": "float",
    "event_timestamp_ms": "integer",
    "event_id": "text",
    "version": "integer",
    "position": "integer",
    "age_ms": "integer",
}


def features(state: LocationState) -> LocationState:
    """The state itself: nothing further is computed."""
    return state


def row(rider_id: str, state: LocationState, at_ms: int, _limits: ViewLimits, _allow_expired: bool) -> dict[str, Any]:
    """The latest location and its age at ``at_ms``, under COLUMNS. It does not expire; readers see its age."""
    found = values(rider_id, state) or {"version": state.version, "position": state.position}
    t_ms = found.get("event_timestamp_ms")
    every = {**found, "rider_id": rider_id, "age_ms": None if t_ms is None else max(0, at_ms - t_ms)}
    return {name: every.get(name) for name in COLUMNS}


VIEW: View[LocationState] = View(columns=COLUMNS, features=features, row=row)
