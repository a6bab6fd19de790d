"""The bytes of an order's state: exact, equal for equal states, and rejected if another version wrote them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.keyed_event import KeyedEvent
from domain.features.orders import EMPTY, OrderState, fold
from read_models.orders.state import UnreadableOrderState, UnwritableOrderState, decode, encode
from tests.support.worlds.order_lives import placed_data

numbers = st.integers(0, 2**63 - 1)
maybe = st.one_of(st.none(), numbers)
places = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=128)
states = st.builds(
    OrderState,
    numbers,
    numbers,
    st.sampled_from(["", "placed", "assigned", "picked_up", "arrived", "completed", "cancelled"]),
    st.one_of(st.none(), text),
    places,
    places,
    text,
    numbers,
    *[maybe] * 5,
    numbers,
    *[maybe] * 3,
    st.integers(0, 2**32 - 1),
    st.one_of(st.just(""), text),
)


@given(states)
def test_a_state_survives_its_bytes(state: OrderState) -> None:
    assert decode(encode(state)) == state


def test_invariant_8_equal_states_have_equal_bytes() -> None:
    north, south = (
        fold(EMPTY, KeyedEvent("o", 1, 1, "DeliveryPlaced", placed_data("o", 1, restaurant_longitude=zero)))
        for zero in (0.0, -0.0)
    )
    assert north == south
    assert encode(north) == encode(south)


@given(states, st.integers(1, 30))
def test_bytes_of_another_length_are_rejected(state: OrderState, cut: int) -> None:
    data = encode(state)
    for damaged in (data[:-cut], data + b"\0" * cut):
        with pytest.raises(UnreadableOrderState):
            decode(damaged)


@pytest.mark.parametrize("damaged", [b"", b"\1" + encode(EMPTY)[1:], encode(EMPTY)[:17] + b"\7" + encode(EMPTY)[18:]])
def test_another_format_or_status_is_rejected(damaged: bytes) -> None:
    with pytest.raises(UnreadableOrderState):
        decode(damaged)


def test_text_that_is_not_utf_8_is_rejected() -> None:
    data = encode(EMPTY._replace(rider_id="anna"))
    with pytest.raises(UnreadableOrderState):
        decode(data[:-1] + b"\xff")


@pytest.mark.parametrize("state", [EMPTY._replace(placed_ms=-1), EMPTY._replace(items=-1)], ids=["time", "items"])
def test_a_negative_number_is_not_written(state: OrderState) -> None:
    with pytest.raises(UnwritableOrderState):
        encode(state)
