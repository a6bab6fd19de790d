"""Tracks of a rider who forges positions, and of one who does not."""

from __future__ import annotations

from typing import Any

HONEST_FIXES = 12
FORGED_FIXES = 6
STEP_MS = 5_000
NORTH = 0.00023
"""Degrees in a step: 5 m/s."""


def honest_track(rider_id: str, start_ms: int, *, is_mock: bool = False) -> list[dict[str, Any]]:
    """A ride to the north at 5 m/s, a fix in five seconds."""
    return [
        {
            "rider_id": rider_id,
            "event_timestamp_ms": start_ms + number * STEP_MS,
            # Not the same step each time: that would be a signal of its own.
            "latitude": 52.5 + number * NORTH + number % 3 * 1e-6,
            "longitude": 13.4 + number % 4 * 1e-6,
            "accuracy_meters": 5 + number % 3,
            "speed_mps": 5 + number % 5 / 10,
            "is_mock": is_mock,
        }
        for number in range(HONEST_FIXES)
    ]


def forged_track(rider_id: str, start_ms: int) -> list[dict[str, Any]]:
    """The same ride, then 3 km to the east in five seconds, where an app makes the fixes: signals of two families."""
    ride = honest_track(rider_id, start_ms)
    moved = honest_track(rider_id, start_ms + HONEST_FIXES * STEP_MS, is_mock=True)[:FORGED_FIXES]
    return ride + [fix | {"longitude": fix["longitude"] + 0.045} for fix in moved]
