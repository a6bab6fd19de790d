"""The fold of a rider's latest location. It keeps one ping, independent of the order of arrival."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from domain.features.event_time import effective_time_ms
from domain.features.keyed_event import KeyedEvent


class LocationFix(NamedTuple):
    """One accepted ping; ordered by ``order``.

    ``t_ms`` is its effective time. ``ahead_ms`` is how much later the time as sent is: 0 unless the clock is ahead.
    ``event_id`` is the UUID as 32 hex digits, which sort as the UUID does. Degrees, metres (68 % radius).
    """

    t_ms: int
    event_id: str
    latitude: float
    longitude: float
    accuracy_m: float | None
    ahead_ms: int = 0

    @property
    def order(self) -> tuple[int, int, str]:
        """By effective time; pings with the same reception by the time as sent."""
        return self.t_ms, self.ahead_ms, self.event_id


class LocationState(NamedTuple):
    """``version`` and ``position`` are those of the last event folded, even if it did not change ``latest``."""

    version: int
    position: int
    latest: LocationFix | None


EMPTY = LocationState(0, 0, None)


def fold(state: LocationState, event: KeyedEvent) -> LocationState:
    """The state after one more event of the rider's stream; pure."""
    latest = state.latest
    if event.event_type == "GpsPing":
        fix = _fix(event.data)
        if latest is None or fix.order > latest.order:
            latest = fix
    return LocationState(event.version, event.position, latest)


def _fix(data: Mapping[str, Any]) -> LocationFix:
    t_ms = effective_time_ms(data)
    return LocationFix(
        t_ms,
        data["event_id"].replace("-", ""),
        data["latitude"],
        data["longitude"],
        data["accuracy_meters"],
        data["event_timestamp_ms"] - t_ms,
    )
