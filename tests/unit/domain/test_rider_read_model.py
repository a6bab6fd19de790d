"""The fold of a rider's read model beside the window: the moving pace and the open legs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features import legs as legs_of_features
from domain.features.keyed_event import KeyedEvent
from domain.features.legs import MAX_OPEN_LEGS, OpenLeg
from domain.features.pace import EMPTY_PACE, pace_s_per_km, step
from domain.features.speed.window import EMPTY, WINDOW_PINGS, SpeedState, fold
from domain.riders import leg as legs_of_riders
from read_models.speed.state import UnreadableSpeedState, decode, encode
from read_models.speed.view import features
from tests.support.worlds.speed_events import ping_data

START_MS = 1_790_000_000_000
Event = tuple[str, dict[str, Any]]


def folded(events: list[Event], state: SpeedState = EMPTY) -> SpeedState:
    for number, (event_type, data) in enumerate(events, start=state.version + 1):
        state = fold(state, KeyedEvent("anna", number, number, event_type, data))
    return state


def started(order: str, leg: str = "to_restaurant", at_ms: int = START_MS, **fields: Any) -> Event:
    data = {
        "order_id": order,
        "leg": leg,
        "target_latitude": 52.51,
        "target_longitude": 13.41,
        "event_timestamp_ms": at_ms,
    }
    return "LegStarted", data | fields


def ended(order: str, leg: str = "to_restaurant") -> Event:
    return "LegEnded", {"order_id": order, "leg": leg, "event_timestamp_ms": START_MS}


def ping(second: int, number: int = 0, north_m: float = 0.0, accuracy: float | None = 5.0) -> Event:
    latitude = 52.5 + north_m / 111_195.0797
    data = ping_data("anna", START_MS + 1_000 * second, number, latitude=latitude, accuracy_meters=accuracy)
    return "GpsPing", data | {"longitude": 13.4}


legs = st.lists(
    st.one_of(
        st.builds(
            started,
            st.sampled_from([f"order-{n}" for n in range(24)] + ["Bestellung-ß"]),
            st.sampled_from(["to_restaurant", "to_customer"]),
            st.integers(START_MS, START_MS + 10_000),
            target_latitude=st.floats(-90, 90),
            target_longitude=st.floats(-180, 180),
        ),
        st.builds(
            ended,
            st.sampled_from([f"order-{n}" for n in range(24)]),
            st.sampled_from(["to_restaurant", "to_customer"]),
        ),
    ),
    max_size=80,
)
pings = st.lists(
    st.builds(ping, st.integers(0, 600), st.integers(0, 10), st.floats(-300, 3_000)),
    max_size=60,
    unique_by=lambda event: (event[1]["event_timestamp_ms"], event[1]["event_id"]),
)


def test_stacked_orders_have_a_leg_each_in_the_order_of_their_start() -> None:
    state = folded([started("a", at_ms=START_MS + 2_000), started("b"), started("a", "to_customer")])
    assert state.legs == (
        OpenLeg("a", "to_restaurant", 52.51, 13.41, START_MS + 2_000),
        OpenLeg("b", "to_restaurant", 52.51, 13.41, START_MS),
        OpenLeg("a", "to_customer", 52.51, 13.41, START_MS),
    )
    assert folded([ended("a")], state).legs == state.legs[1:]


def test_a_leg_starts_at_its_effective_time() -> None:
    ahead = started("a", at_ms=START_MS + 60_000, received_timestamp_ms=START_MS)
    assert folded([ahead]).legs[0].started_ms == START_MS


def test_the_end_of_a_leg_that_is_not_open_changes_nothing_but_the_place() -> None:
    before = folded([started("a")])
    assert folded([ended("a", "to_customer"), ended("b")], before) == before._replace(version=3, position=3)


def test_a_leg_that_starts_again_replaces_its_first_start() -> None:
    state = folded([started("a"), started("b"), started("a", at_ms=START_MS + 5_000)])
    assert [(leg.order_id, leg.started_ms) for leg in state.legs] == [("b", START_MS), ("a", START_MS + 5_000)]


def test_a_leg_of_a_later_contract_is_not_kept() -> None:
    assert folded([started("a", "to_depot")]).legs == ()


def test_the_fold_keeps_every_leg_that_the_aggregate_lets_a_rider_have() -> None:
    for name in ("MAX_OPEN_LEGS", "TO_RESTAURANT", "TO_CUSTOMER"):
        assert getattr(legs_of_features, name) == getattr(legs_of_riders, name)


def test_invariant_15_the_twenty_first_leg_is_counted_and_not_kept() -> None:
    full = folded([started(f"order-{n}") for n in range(MAX_OPEN_LEGS)])
    over = folded([started("one more"), ended("one more")], full)
    assert over == full._replace(version=full.version + 2, position=full.position + 2, legs_not_kept=1)
    # One that starts again takes no further place, and after an end there is room.
    again = folded([started("order-0"), ended("order-1"), started("one more")], over)
    assert (len(again.legs), again.legs_not_kept) == (MAX_OPEN_LEGS, 1)


@given(legs)
def test_the_open_legs_are_those_that_have_started_and_not_ended(events: list[Event]) -> None:
    open_legs: list[tuple[str, str]] = []
    not_kept = 0
    for event_type, data in events:
        leg = (data["order_id"], data["leg"])
        is_open = leg in open_legs
        if is_open:
            open_legs.remove(leg)
        if event_type == "LegStarted":
            if len(open_legs) < MAX_OPEN_LEGS:
                open_legs.append(leg)
            else:
                not_kept += 1
    state = folded(events)
    assert [(leg.order_id, leg.leg) for leg in state.legs] == open_legs
    assert state.legs_not_kept == not_kept


@given(st.lists(st.one_of(legs, pings), max_size=4), st.integers(0, 200))
def test_invariant_8_any_split_of_a_batch_gives_the_same_bytes(parts: list[list[Event]], cut: int) -> None:
    events = [event for part in parts for event in part]
    whole = folded(events)
    assert decode(encode(whole)) == whole
    assert encode(folded(events[cut:], decode(encode(folded(events[:cut]))))) == encode(whole)


@given(pings, legs)
def test_legs_change_no_value_of_the_speed_and_pings_no_leg(some: list[Event], others: list[Event]) -> None:
    both = [event for pair in zip(some, others, strict=False) for event in pair]
    both += some[len(others) :] + others[len(some) :]
    state, alone = folded(both), folded(some)
    assert features(state)._replace(version=0, position=0) == features(alone)._replace(version=0, position=0)
    assert (state.pace, state.legs) == (alone.pace, folded(others).legs)


def test_equal_targets_have_equal_bytes() -> None:
    zero, minus = (encode(folded([started("a", target_latitude=at, target_longitude=at)])) for at in (0.0, -0.0))
    assert zero == minus


def test_the_pace_is_that_of_the_pings_that_have_left_the_window() -> None:
    ride = [ping(10 * n, n % 10, north_m=50.0 * n) for n in range(40)]
    expected = EMPTY_PACE
    for _, data in ride[:-WINDOW_PINGS]:
        expected = step(expected, data["event_timestamp_ms"], data["latitude"], data["longitude"])
    state = folded(ride)
    assert state.pace == expected
    assert pace_s_per_km(state.pace) == pytest.approx(200.0, rel=1e-4)


def test_an_imprecise_fix_is_no_part_of_the_pace() -> None:
    ride = [ping(10 * n, n % 10, north_m=50.0 * n, accuracy=None) for n in range(40)]
    with_bad = [*ride[:5], ping(45, 1, north_m=30_000.0, accuracy=80.0), *ride[5:]]
    assert folded(with_bad).pace == folded(ride).pace


@given(pings, st.randoms())
def test_invariant_6_the_order_of_arrival_changes_no_pace_while_no_ping_is_too_late(
    items: list[Event], random: Any
) -> None:
    # Each ping arrives before as many later ones as the window has.
    ordered = sorted(items, key=lambda event: (event[1]["event_timestamp_ms"], event[1]["event_id"]))
    shuffled = sorted(range(len(ordered)), key=lambda n: n + random.random() * (WINDOW_PINGS - 1))
    state = folded([ordered[n] for n in shuffled])
    assert state.too_late == 0
    assert state == folded(ordered)


@pytest.mark.parametrize("cut", [0, 1, 33, 87, 88, 150, 180, -1])
def test_bytes_that_are_cut_off_are_unreadable(cut: int) -> None:
    whole = encode(folded([ping(1), started("a"), started("b", "to_customer")]))
    with pytest.raises(UnreadableSpeedState):
        decode(whole[:cut])
    with pytest.raises(UnreadableSpeedState):
        decode(whole + b"\0")
