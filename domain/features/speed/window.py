"""The fold of a rider's read model: the 10 latest pings, the moving pace and the open legs.

The served values are computed at read: the speed from the window, the ETA from all three.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from domain.features.event_time import effective_time_ms
from domain.features.keyed_event import KeyedEvent
from domain.features.legs import OpenLegs, with_started, without
from domain.features.movement import WORST_ACCURACY_M
from domain.features.pace import EMPTY_PACE, PaceState, step

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

    ``pace`` has the movement between the pings that have left the window. ``legs_not_kept`` counts the legs that were
    started while as many as are kept were open.
    """

    version: int
    position: int
    pings: int
    too_late: int
    window: tuple[WindowPing, ...]
    pace: PaceState = EMPTY_PACE
    legs: OpenLegs = ()
    legs_not_kept: int = 0


EMPTY = SpeedState(0, 0, 0, 0, ())


def fold(state: SpeedState, event: KeyedEvent) -> SpeedState:
    """The state after one more event of the rider's stream; pure."""
    if event.event_type != "GpsPing":
        return _with_legs(state._replace(version=event.version, position=event.position), event)
    _, _, pings, late, before, pace, legs, not_kept = state
    ping = window_ping(event.data)
    window = insert(before, ping)
    if window is before:
        late += not _holds(window, ping)
    elif len(before) == WINDOW_PINGS:
        pace = _after(pace, before[0])
    return SpeedState(event.version, event.position, pings + 1, late, window, pace, legs, not_kept)


def _after(pace: PaceState, left: WindowPing) -> PaceState:
    """The pace after a ping has left the window. No later ping can come before it, so its step is final."""
    if left.accuracy_m is not None and left.accuracy_m > WORST_ACCURACY_M:
        return pace
    return step(pace, left.t_ms, left.latitude, left.longitude)


def _with_legs(state: SpeedState, event: KeyedEvent) -> SpeedState:
    if event.event_type == "LegStarted":
        legs = with_started(state.legs, event.data)
        if legs is None:
            return state._replace(legs_not_kept=state.legs_not_kept + 1)
        return state._replace(legs=legs)
    if event.event_type == "LegEnded":
        return state._replace(legs=without(state.legs, event.data["order_id"], event.data["leg"]))
    return state


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
