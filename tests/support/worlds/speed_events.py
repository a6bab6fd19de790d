"""Pings as decoded from a log, for tests of the speed projection."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from domain.features.keyed_event import KeyedEvent
from projections.core.ports import LoggedEvent
from projections.speed import SPEED


def ping_data(rider_id: str, t_ms: int, number: int = 0, **fields: Any) -> dict[str, Any]:
    """The decoded record of a ping; ``number`` determines its event id."""
    return {
        "rider_id": rider_id,
        "latitude": 52.5 + (number % 97) / 1e4,
        "longitude": 13.4 + (t_ms % 1009) / 1e5,
        "event_timestamp_ms": t_ms,
        "accuracy_meters": 5.0,
        "speed_mps": None,
        "event_id": str(UUID(int=number)),
        **fields,
    }


def keyed(event: LoggedEvent) -> KeyedEvent:
    return KeyedEvent(event.key, event.version, event.position, event.event_type, json.loads(event.payload))


def expected_states(events: list[LoggedEvent]) -> dict[str, bytes]:
    """Every key's state, by folding the log from the beginning, event by event."""
    states: dict[str, Any] = {}
    for event in events:
        states[event.key] = SPEED.fold(states.get(event.key, SPEED.initial), keyed(event))
    return {key: SPEED.encode(state) for key, state in states.items()}


RIDERS = tuple(f"rider-{number}" for number in range(12))

histories = st.lists(st.tuples(st.sampled_from(RIDERS), st.integers(0, 40)), min_size=1, max_size=60)
"""Short histories: (rider, second of the event), many of them late or of the same second."""
