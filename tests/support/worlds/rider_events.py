"""Random histories of riders' streams, for properties that must hold for every projection."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hypothesis import strategies as st

RIDERS = tuple(f"rider-{number}" for number in range(6))
START_MS = 1_790_000_000_000


def _ping(
    rider: str, second: int, number: int, accuracy: float | None, north: int, delay_s: int | None
) -> tuple[str, str, dict[str, Any]]:
    t_ms = START_MS + second * 1_000
    return (
        rider,
        "GpsPing",
        {
            "rider_id": rider,
            "latitude": 52.5 + north / 1e4,
            "longitude": 13.4,
            "event_timestamp_ms": t_ms,
            "accuracy_meters": accuracy,
            "speed_mps": None,
            "schema_version": 3,
            "event_id": str(UUID(int=number)),
            "received_timestamp_ms": 0 if delay_s is None else t_ms + delay_s * 1_000,
            "source_service": "test",
            "is_mock": None,
        },
    )


def _shift(rider: str, second: int, kind: str) -> tuple[str, str, dict[str, Any]]:
    data = {"rider_id": rider, "event_timestamp_ms": START_MS + second * 1_000, "event_id": str(UUID(int=second))}
    return rider, kind, data


def _decided(rider: str, second: int, kind: str) -> tuple[str, str, dict[str, Any]]:
    """A review of one of a few alerts, or a closed statement."""
    _, _, data = _shift(rider, second, kind)
    if kind == "AlertReviewed":
        data |= {"alert_id": str(UUID(int=second % 4)), "verdict": ("confirmed", "cleared")[second % 2], "why": "seen"}
    else:
        data |= {"period": f"2026-W{36 + second % 4}", "currency": ("EUR", "CHF")[second % 2]}
    received = {"received_timestamp_ms": data["event_timestamp_ms"] + 50, "source_service": "desk"}
    command = {"command_id": f"decided-{second}", "command_digest": "", "caused_by": ""}
    return rider, kind, data | received | command | {"by": "mara"}


def _leg(rider: str, second: int, kind: str, order: int, leg: str, outcome: str) -> tuple[str, str, dict[str, Any]]:
    _, _, data = _shift(rider, second, kind)
    data |= {"order_id": f"order-{order}", "leg": leg, "received_timestamp_ms": 0}
    if kind == "LegEnded":
        return rider, kind, data | {"outcome": outcome}
    target = {"target_latitude": 52.5, "target_longitude": 13.4}
    order_of = {"city": "", "time_zone": "Europe/Berlin", "currency": "EUR", "promised_seconds": None}
    return rider, kind, data | target | order_of


# Seconds from a few minutes to some hours apart; identities are unique, as ingest ensures.
_seconds = st.one_of(st.integers(0, 200), st.integers(3_400, 3_800), st.integers(0, 10_000))

rider_histories = st.lists(
    st.one_of(
        st.builds(
            _ping,
            st.sampled_from(RIDERS),
            _seconds,
            st.integers(0, 10_000),
            st.sampled_from([None, 3.0, 5.0, 49.0, 80.0]),
            st.integers(-300, 300),
            st.sampled_from([None, 0, 0, 0, 90, 4_000, -2, -3, -240, -300]),
        ),
        st.builds(_shift, st.sampled_from(RIDERS), _seconds, st.sampled_from(["ShiftStarted", "ShiftEnded"])),
        st.builds(_decided, st.sampled_from(RIDERS), _seconds, st.sampled_from(["AlertReviewed", "StatementClosed"])),
        st.builds(
            _leg,
            st.sampled_from(RIDERS),
            _seconds,
            st.sampled_from(["LegStarted", "LegEnded"]),
            st.integers(0, 2),
            st.sampled_from(["to_restaurant", "to_customer"]),
            st.sampled_from(["completed", "completed", "unassigned"]),
        ),
    ),
    min_size=1,
    max_size=80,
    unique_by=lambda event: (event[0], event[1], event[2]["event_timestamp_ms"], event[2]["event_id"]),
)
"""Lists of (key, event type, record) in the order of the log."""
