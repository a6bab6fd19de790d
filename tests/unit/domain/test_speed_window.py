"""The fold of the speed window: what it keeps, and what cannot change it."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.features.geo import EARTH_RADIUS_M, haversine_mm
from domain.features.keyed_event import KeyedEvent
from domain.features.speed.path import path_mm, path_speed_mps, window_ms
from domain.features.speed.window import EMPTY, WINDOW_PINGS, SpeedState, fold
from read_models.speed.state import decode, encode
from tests.support.worlds.replay_reference import effective_ms
from tests.support.worlds.speed_events import ping_data

pings = st.lists(
    st.builds(
        ping_data,
        st.just("anna"),
        st.integers(1_790_000_000_000, 1_790_000_000_030),
        number=st.integers(0, 40),
        latitude=st.floats(-90, 90),
        longitude=st.floats(-180, 180),
        accuracy_meters=st.none() | st.floats(0, 1e6, width=32),
        speed_mps=st.none() | st.floats(0, 100, width=32),
        # The phone's clock is right, within the tolerance, or ahead; 0: a ping of version 1.
        received_timestamp_ms=st.sampled_from([0, 1_790_000_000_030])
        | st.integers(1_789_999_997_990, 1_789_999_998_030),
    ),
    max_size=40,
    unique_by=lambda p: (p["event_timestamp_ms"], p["event_id"]),
)


def folded(items: list[dict[str, Any]], state: SpeedState = EMPTY) -> SpeedState:
    for number, data in enumerate(items, start=state.version + 1):
        state = fold(state, KeyedEvent("anna", number, number, "GpsPing", data))
    return state


def order(data: dict[str, Any]) -> tuple[int, int, str]:
    return (effective_ms(data), data["event_timestamp_ms"], data["event_id"])


@given(pings)
def test_the_window_is_the_ten_latest_by_time_and_id(items: list[dict[str, Any]]) -> None:
    expected = sorted(items, key=order)[-WINDOW_PINGS:]
    window = folded(items).window
    assert [(p.t_ms, p.t_ms + p.ahead_ms, p.event_id) for p in window] == [
        (effective_ms(d), d["event_timestamp_ms"], d["event_id"].replace("-", "")) for d in expected
    ]


@given(pings, st.randoms())
def test_invariant_6_the_order_of_arrival_changes_no_value(items: list[dict[str, Any]], random: Any) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)
    one, other = folded(items), folded(shuffled)
    assert one.window == other.window
    assert path_speed_mps(one.window) == path_speed_mps(other.window)
    assert one.pings == other.pings == len(items)


@given(pings, st.data())
def test_a_ping_folded_twice_changes_no_value(items: list[dict[str, Any]], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(items), max_size=10)) if items else []
    assert folded(items + again).window == folded(items).window


@given(pings, st.integers(0, 40))
def test_any_split_of_a_batch_gives_the_same_bytes(items: list[dict[str, Any]], cut: int) -> None:
    first = decode(encode(folded(items[:cut])))
    assert encode(folded(items[cut:], first)) == encode(folded(items))


@given(pings)
def test_a_ping_that_is_too_late_is_counted_not_used(items: list[dict[str, Any]]) -> None:
    late = 0
    for number, data in enumerate(items):
        before = sorted(items[:number], key=order)[-WINDOW_PINGS:]
        late += len(before) == WINDOW_PINGS and order(data) < order(before[0])
    assert folded(items).too_late == late


@given(pings)
def test_invariant_8_state_survives_its_bytes(items: list[dict[str, Any]]) -> None:
    state = folded(items)
    assert decode(encode(state)) == state


def test_events_that_are_not_pings_change_version_and_position_only() -> None:
    before = folded([ping_data("anna", 1_790_000_000_000)])
    after = fold(before, KeyedEvent("anna", 2, 77, "ShiftStarted", {"event_timestamp_ms": 1}))
    assert after == before._replace(version=2, position=77)


@given(pings)
def test_path_speed_is_millimetres_over_milliseconds(items: list[dict[str, Any]]) -> None:
    window = folded(items).window
    speed, span = path_speed_mps(window), window_ms(window)
    if len(window) < 2 or not span:
        assert speed is None
    else:
        assert speed is not None
        assert math.isclose(speed, Fraction(path_mm(window), span))
        assert speed >= 0


def test_haversine_on_known_distances() -> None:
    quarter = math.pi * EARTH_RADIUS_M / 2
    assert haversine_mm(0, 0, 0, 90) == round(quarter * 1000)
    assert haversine_mm(90, 0, -90, 0) == round(2 * quarter * 1000)
    assert haversine_mm(0, 179.5, 0, -179.5) == haversine_mm(0, 0, 0, 1)
    assert haversine_mm(52.5, 13.4, 52.5, 13.4) == 0
