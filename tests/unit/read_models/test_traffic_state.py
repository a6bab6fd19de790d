"""The bytes of a rider's traffic state: exact, and rejected if another version wrote them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.traffic.fold import EMPTY, BucketSums, CellSum, TrafficState
from read_models.traffic.state import UnreadableTrafficState, decode, encode

sums = st.builds(
    CellSum, st.integers(0, 2**64 - 1), st.integers(0, 7), st.integers(1, 2**32 - 1), st.integers(0, 10**9)
)
states = st.builds(
    TrafficState,
    st.integers(0, 2**62),
    st.integers(0, 2**62),
    st.integers(0, 2**40),
    st.integers(0, 91).map(lambda count: bytes(range(16)) * count),
    st.lists(st.builds(BucketSums, st.integers(0, 2**40), st.lists(sums, max_size=90).map(tuple)), max_size=3).map(
        tuple
    ),
)


@given(states)
def test_a_state_survives_its_bytes(state: TrafficState) -> None:
    assert decode(encode(state)) == state


@given(states, st.integers(1, 30))
def test_bytes_of_another_length_are_rejected(state: TrafficState, cut: int) -> None:
    data = encode(state)
    for damaged in (data[:-cut], data + b"\0" * cut):
        with pytest.raises(UnreadableTrafficState):
            decode(damaged)


def test_another_format_is_rejected() -> None:
    with pytest.raises(UnreadableTrafficState):
        decode(b"\2" + encode(EMPTY)[1:])
    with pytest.raises(UnreadableTrafficState):
        decode(b"")
