"""The fold of a rider's speed window: it keeps the 10 latest pings. The served values are computed at read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from domain.features.event_time import effective_time_ms
from domain.features.keyed_event import KeyedEvent

WINDOW_PINGS = 10


class WindowPing(NamedTuple):
    """One accepted ping inside the window; ordered by ``order``.

    ``t_ms`` is its effective time. ``ahead_ms`` is how much later the time as sent is: 0 unless the clock is ahead.
    ``event_id`` is the UUID as 32 hex digits, which sort as the UUID does. Degrees, metres (68 % radius), m/s.
    """

    t_ms: int
    event_id: str
    latitude: float
    longitude: float
    accuracy_m: float | None
    speed_mps: float | None
    ahead_ms: int = 0

    @property
    def order(self) -> tuple[int, int, str]:
        """By effective time; pings with the same reception by the time as sent. Unique among the pings of a rider."""
        return self.t_ms, self.ahead_ms, self.event_id


class SpeedState(NamedTuple):
    """``window`` is sorted and depends on the set of pings alone, not on the order of their arrival (invariant 6).

    ``version`` and ``position`` are those of the last event folded. ``pings`` counts all pings. ``too_late`` counts
    those that were older than a full window when they came; they are not used.
    """

    version: int
    position: int
    pings: int
    too_late: int
    window: tuple[WindowPing, ...]


EMPTY = SpeedState(0, 0, 0, 0, ())


def fold(state: SpeedState, event: KeyedEvent) -> SpeedState:
    """The state after one more event of the rider's stream; pure."""
    if event.event_type != "GpsPing":
        return state._replace(version=event.version, position=event.position)
    ping = window_ping(event.data)
    window = insert(state.window, ping)
    late = state.too_late + (window is state.window and not _holds(window, ping))
    return SpeedState(event.version, event.position, state.pings + 1, late, window)


def window_ping(data: Mapping[str, Any]) -> WindowPing:
    t_ms = effective_time_ms(data)
    return WindowPing(
        t_ms,
        data["event_id"].replace("-", ""),
        data["latitude"],
        data["longitude"],
        data["accuracy_meters"],
        data["speed_mps"],
        data["event_timestamp_ms"] - t_ms,
    )


def insert(window: tuple[WindowPing, ...], ping: WindowPing) -> tuple[WindowPing, ...]:
    """The window with ``ping`` inserted in order; the same object if it is a duplicate or too late."""
    index, order = len(window), ping.order
    while index and window[index - 1].order > order:
        index -= 1
    if index and window[index - 1].order == order:
        return window
    if len(window) < WINDOW_PINGS:
        return (*window[:index], ping, *window[index:])
    if index == 0:
        return window
    return (*window[1:index], ping, *window[index:])


def _holds(window: tuple[WindowPing, ...], ping: WindowPing) -> bool:
    return any(kept.order == ping.order for kept in window)
