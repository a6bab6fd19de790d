"""A rider's phone on the plane: pings, legs and reviews by seconds and metres, and what the spoofing fold says."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from domain.features.case_file import CaseFile, Signal, case_of
from domain.features.keyed_event import KeyedEvent
from domain.features.spoofing.fold import fold
from domain.features.spoofing.state import EMPTY, SpoofingState

START_MS = 1_790_000_000_000
LATITUDE, LONGITUDE = 53.35, -6.26
METRES_A_DEGREE = 111_195.0

Event = tuple[str, str, dict[str, Any]]
"""(key, event type, record), as the histories of projections have them."""

RIDER = "anna"


def ping(
    t_s: float,
    north_m: float = 0.0,
    east_m: float = 0.0,
    *,
    accuracy: float | None = 5.0,
    speed: float | None = None,
    late_s: float = 0.2,
    is_mock: bool | None = None,
) -> Event:
    """A ping of second ``t_s``, received ``late_s`` after it. Its id tells its millisecond and its reception."""
    t_ms = START_MS + round(t_s * 1_000)
    received_ms = t_ms + round(late_s * 1_000)
    data = {
        "rider_id": RIDER,
        "latitude": LATITUDE + north_m / METRES_A_DEGREE,
        "longitude": LONGITUDE + east_m / METRES_A_DEGREE / math.cos(math.radians(LATITUDE)),
        "event_timestamp_ms": t_ms,
        "accuracy_meters": accuracy,
        "speed_mps": speed,
        "schema_version": 3,
        "event_id": id_of(t_s, late_s),
        "received_timestamp_ms": received_ms,
        "source_service": "test",
        "is_mock": is_mock,
    }
    return RIDER, "GpsPing", data


def id_of(t_s: float, late_s: float = 0.2) -> str:
    """The event id of the ping of that second."""
    return str(UUID(int=(round(t_s * 1_000) + 10**9 << 40) + round(late_s * 1_000) + 10**9))


def leg_started(t_s: float, north_m: float, east_m: float = 0.0, order: str = "order-1") -> Event:
    at = ping(t_s, north_m, east_m)[2]
    data = {
        "rider_id": RIDER,
        "event_timestamp_ms": at["event_timestamp_ms"],
        "event_id": str(UUID(int=round(t_s * 1_000) + 10**9)),
        "order_id": order,
        "leg": "to_customer",
        "target_latitude": at["latitude"],
        "target_longitude": at["longitude"],
        "received_timestamp_ms": at["event_timestamp_ms"],
    }
    return RIDER, "LegStarted", data


def leg_ended(t_s: float, order: str = "order-1") -> Event:
    _, _, data = leg_started(t_s, 0.0, 0.0, order)
    del data["target_latitude"], data["target_longitude"]
    return RIDER, "LegEnded", data | {"outcome": "completed", "event_id": str(UUID(int=round(t_s * 1_000) + 2))}


def reviewed(t_s: float, alert_id: str, verdict: str = "cleared") -> Event:
    data = {
        "rider_id": RIDER,
        "event_timestamp_ms": START_MS + round(t_s * 1_000),
        "event_id": str(UUID(int=round(t_s * 1_000) + 3)),
        "alert_id": alert_id,
        "verdict": verdict,
        "by": "mara",
        "why": "he was in the tunnel",
        "received_timestamp_ms": START_MS + round(t_s * 1_000),
    }
    return RIDER, "AlertReviewed", data


def ride(
    from_s: float,
    until_s: float,
    *,
    every_s: float = 5.0,
    speed: float = 5.0,
    device: float | None = 1.0,
    north_m: float = 0.0,
    east_m: float = 0.0,
    accuracy: float | None = 5.0,
    seed: int = 1,
) -> list[Event]:
    """A ride to the north with a receiver's noise. The device says ``device`` times the speed; None = nothing."""
    chance = random.Random(seed)
    events = []
    for number in range(math.ceil((until_s - from_s) / every_s)):
        t_s = from_s + number * every_s
        north = north_m + speed * (t_s - from_s)
        measured = None if device is None else max(0.0, device * speed + chance.gauss(0, 0.2))
        noise = chance.gauss(0, 1.0), chance.gauss(0, 1.0)
        events.append(ping(t_s, north + noise[0], east_m + noise[1], accuracy=accuracy, speed=measured))
    return events


def keyed(events: Iterable[Event], first_version: int = 1) -> list[KeyedEvent]:
    """The events in this order, numbered."""
    return [
        KeyedEvent(key, number, number * 10, kind, data)
        for number, (key, kind, data) in enumerate(events, start=first_version)
    ]


def states_of(events: Iterable[Event]) -> list[SpoofingState]:
    """The state after each event."""
    state, states = EMPTY, []
    for event in keyed(events):
        state = fold(state, event)
        states.append(state)
    return states


def signals_of(events: Iterable[Event]) -> list[Signal]:
    """All signals, raised to an alert or not, in the order in which they were found; each as it was last."""
    found: dict[tuple[str, str], Signal] = {}
    for state in states_of(events):
        for signal in case_of(state.case).signals if state.case else ():
            found[signal.name, signal.evidence[0]] = signal
    return list(found.values())


def names_of(events: Iterable[Event]) -> set[str]:
    return {signal.name for signal in signals_of(events)}


def alerts_of(events: Iterable[Event]) -> dict[str, CaseFile]:
    """The alerts by id, each with its last file."""
    return {state.alert.alert_id: state.alert for state in states_of(events) if state.alert is not None}


def by_reception(events: Sequence[Event]) -> list[Event]:
    return sorted(events, key=lambda event: event[2]["received_timestamp_ms"])
