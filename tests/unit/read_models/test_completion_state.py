"""The bytes of a rider's completion state: exact, and rejected if another version wrote them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.completion.button import ButtonView
from domain.features.completion.fold import EMPTY, CompletionState
from domain.features.completion.leg import EndOfLeg, TrackedLeg
from domain.features.completion.packed_progress import packed_progress
from domain.features.completion.progress import EN_ROUTE, FixInstant, LegPlace, LegProgress, RestFix
from domain.features.completion.track import FIX_BYTES, KEPT_BLOCKS
from read_models.completion.state import UnreadableCompletionState, decode, encode

instants = st.integers(0, 2**62)
ids = st.binary(min_size=16, max_size=16)
degrees = st.integers(-1_800_000_000, 1_800_000_000)
accuracies = st.integers(0, 0xFFFF)
rests = st.builds(RestFix, instants, ids, st.integers(0, 2**32 - 1), accuracies, degrees, degrees)
fix_instants = st.builds(FixInstant, instants, ids)
en_route = st.integers(0, 7).map(lambda marks: LegProgress(EN_ROUTE, marks))
under_way = st.builds(
    LegProgress, st.integers(1, 3), st.integers(0, 7), fix_instants, rests, rests, st.integers(0, 3), fix_instants
)
progress = st.one_of(en_route, under_way)
distances = st.integers(-(2**40), 2**40)
views = st.builds(ButtonView, distances, accuracies, st.integers(0, 12), distances, distances, st.integers(0, 2**40))
checkpoints = st.lists(progress.map(packed_progress), min_size=KEPT_BLOCKS, max_size=KEPT_BLOCKS).map(tuple)
places = st.builds(LegPlace, degrees, degrees, instants)
names = st.text(min_size=1, max_size=40)
kinds = st.sampled_from(["to_restaurant", "to_customer"])
open_legs = st.tuples(names, kinds, places, checkpoints, progress).map(
    lambda parts: TrackedLeg(*parts[:3], checkpoints=parts[3], now=parts[4])
)
ended_legs = st.builds(
    TrackedLeg, names, kinds, places, st.sampled_from([*EndOfLeg][1:]), instants, ids, checkpoints, progress, views
)
counts = st.integers(0, 2**62)
states = st.builds(
    CompletionState,
    counts,
    counts,
    counts,
    counts,
    counts,
    st.integers(0, 80).map(lambda count: bytes(range(FIX_BYTES)) * count),
    st.lists(st.one_of(open_legs, ended_legs), max_size=6).map(tuple),
    st.just(()),
    st.just(()),
)


@given(states)
def test_a_state_survives_its_bytes(state: CompletionState) -> None:
    assert decode(encode(state)) == state


@given(states, st.integers(1, 30))
def test_bytes_of_another_length_are_rejected(state: CompletionState, cut: int) -> None:
    data = encode(state)
    for damaged in (data[:-cut], data + b"\0" * cut):
        with pytest.raises(UnreadableCompletionState):
            decode(damaged)


def test_another_format_is_rejected() -> None:
    for damaged in (b"\2" + encode(EMPTY)[1:], b""):
        with pytest.raises(UnreadableCompletionState):
            decode(damaged)
