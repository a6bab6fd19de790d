"""The answer computed from a rider's state at a given instant."""

from __future__ import annotations

from typing import Any

import pytest

from domain.features.keyed_event import KeyedEvent
from domain.features.speed.window import EMPTY, SpeedState, fold
from read_models.speed.state import UnreadableSpeedState, decode, encode
from read_models.speed.view import answer, status
from read_models.view import ViewLimits
from tests.support.worlds.speed_events import ping_data

T_MS = 1_790_000_000_000
LIMITS = ViewLimits(target_freshness_ms=15_000, feature_ttl_ms=7_200_000)


def state_of(*times_ms: int) -> SpeedState:
    state = EMPTY
    for version, t_ms in enumerate(times_ms, start=2):
        state = fold(state, KeyedEvent("anna", version, version + 40, "GpsPing", ping_data("anna", t_ms, version)))
    return state


def served(state: SpeedState, now_ms: int, **options: Any) -> dict[str, Any]:
    return answer("anna", encode(state), now_ms=now_ms, generation=3, limits=LIMITS, **options)


@pytest.mark.parametrize(
    ("age_ms", "expected"),
    [
        (-4_000, "fresh"),
        (0, "fresh"),
        (30_000, "fresh"),
        (30_001, "stale"),
        (7_200_000, "stale"),
        (7_200_001, "expired"),
    ],
)
def test_status_by_age(age_ms: int, expected: str) -> None:
    assert status(age_ms, LIMITS) == expected


def test_an_answer_names_its_position_and_generation() -> None:
    found = served(state_of(T_MS, T_MS + 5_000), T_MS + 6_000)
    assert (found["version"], found["position"], found["generation"]) == (3, 43, 3)
    assert (found["pings_in_window"], found["window_ms"], found["age_ms"]) == (2, 5_000, 1_000)


def test_values_of_an_expired_state_are_null_unless_asked_for() -> None:
    state, later = state_of(T_MS, T_MS + 5_000), T_MS + 8_000_000
    hidden = served(state, later)
    values = ("speed_mps", "path_speed_mps", "pings_in_window", "window_ms", "latitude", "longitude")
    assert {hidden[name] for name in values} == {None}
    assert (hidden["status"], hidden["age_ms"]) == ("expired", 7_995_000)
    shown = served(state, later, allow_expired=True)
    assert shown["status"] == "expired"
    assert None not in {shown[name] for name in values}


def test_a_rider_without_pings_is_expired() -> None:
    state = fold(EMPTY, KeyedEvent("anna", 1, 41, "RiderRegistered", {"event_timestamp_ms": T_MS}))
    found = served(state, T_MS)
    assert (found["status"], found["pings_in_window"], found["age_ms"], found["version"]) == ("expired", 0, None, 1)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b"\x09" + b[1:], lambda b: b"", lambda b: b[:20]]
)
def test_bytes_that_are_not_a_state_are_rejected(damage: Any) -> None:
    with pytest.raises(UnreadableSpeedState):
        decode(damage(encode(state_of(T_MS))))
