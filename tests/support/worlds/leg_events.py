"""Pings and legs of one rider around a target, in metres and seconds, for tests of completion."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid5

from domain.features.completion.fold import EMPTY, CompletionState, FinalLeg, fold
from domain.features.completion.result import LegResult
from domain.features.keyed_event import KeyedEvent

START_MS = 1_790_002_800_000
"""A full minute, so the first instant of a block."""
LATITUDE, LONGITUDE = 52.51, 13.41
METRES_A_DEGREE = 111_195.0797
IDS = UUID(int=7)
LegEvent = tuple[str, dict[str, Any]]


def ping(
    second: float,
    north_m: float = 0.0,
    east_m: float = 0.0,
    *,
    accuracy: float | None = 5.0,
    speed: float | None = None,
    number: int = 0,
    **fields: Any,
) -> LegEvent:
    """A fix at an offset from the target of ``started``; its event id is of the second and ``number``."""
    t_ms = START_MS + round(second * 1_000)
    data = {
        "rider_id": "anna",
        "latitude": LATITUDE + north_m / METRES_A_DEGREE,
        "longitude": LONGITUDE + east_m / METRES_A_DEGREE / math.cos(math.radians(LATITUDE)),
        "event_timestamp_ms": t_ms,
        "accuracy_meters": accuracy,
        "speed_mps": speed,
        "event_id": ping_id(second, number),
        "received_timestamp_ms": t_ms,
        "source_service": "test",
        "is_mock": None,
    }
    return "GpsPing", data | fields


def ping_id(second: float, number: int = 0) -> str:
    return str(uuid5(IDS, f"ping/{second:g}/{number}"))


def end_id(second: float, order: str = "o-1", leg: str = "to_customer") -> str:
    return str(uuid5(IDS, f"end/{order}/{leg}/{second:g}"))


def started(second: float = 0.0, order: str = "o-1", leg: str = "to_customer", **fields: Any) -> LegEvent:
    data = {
        "rider_id": "anna",
        "order_id": order,
        "leg": leg,
        "target_latitude": LATITUDE,
        "target_longitude": LONGITUDE,
        "event_timestamp_ms": START_MS + round(second * 1_000),
        "event_id": str(uuid5(IDS, f"start/{order}/{leg}/{second:g}")),
    }
    return "LegStarted", data | fields


def ended(
    second: float, order: str = "o-1", leg: str = "to_customer", outcome: str = "completed", **fields: Any
) -> LegEvent:
    data = {
        "rider_id": "anna",
        "order_id": order,
        "leg": leg,
        "outcome": outcome,
        "event_timestamp_ms": START_MS + round(second * 1_000),
        "event_id": end_id(second, order, leg),
    }
    return "LegEnded", data | fields


def ride(from_s: float, to_s: float, from_m: float, to_m: float, every_s: float = 5.0, **fields: Any) -> list[LegEvent]:
    """Fixes on the way from one offset to the north to another, with the device's speed."""
    count = round((to_s - from_s) / every_s)
    speed = abs(to_m - from_m) / (to_s - from_s)
    return [
        ping(from_s + n * every_s, from_m + (to_m - from_m) * n / count, **({"speed": speed} | fields))
        for n in range(count)
    ]


def rest(from_s: float, to_s: float, north_m: float = 0.0, every_s: float = 5.0, **fields: Any) -> list[LegEvent]:
    """Fixes at one place, with a device speed of 0."""
    count = round((to_s - from_s) / every_s)
    return [ping(from_s + n * every_s, north_m, **({"speed": 0.0} | fields)) for n in range(count)]


class Folded:
    """The state after some events, and all that they changed."""

    def __init__(self, events: Iterable[LegEvent], state: CompletionState = EMPTY, rider: str = "anna") -> None:
        self.results: dict[tuple[str, str], LegResult] = {}
        self.finals: list[FinalLeg] = []
        for number, (event_type, data) in enumerate(events, start=state.version + 1):
            state = fold(state, KeyedEvent(rider, number, data.get("position", number), event_type, data))
            self.results |= {(one.order_id, one.leg): one for one in state.results}
            self.finals += state.finals
        self.state = state

    def result(self, order: str = "o-1", leg: str = "to_customer") -> LegResult:
        return self.results[order, leg]


def seconds(ms: int | None) -> float | None:
    """Seconds since START_MS."""
    return None if ms is None else (ms - START_MS) / 1_000
