"""The fold of the latest location, its stored bytes, and the published record."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events.contracts import Codec
from domain.features.keyed_event import KeyedEvent
from domain.features.latest_location import EMPTY, LocationState, fold
from read_models.locations.state import RECORD, UnreadableLocationState, decode, decode_place, encode, values
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.worlds.replay_reference import effective_ms
from tests.support.worlds.speed_events import ping_data

T_MS = 1_790_000_000_000

pings = st.lists(
    st.builds(
        ping_data,
        st.just("anna"),
        st.integers(T_MS, T_MS + 20),
        number=st.integers(0, 2**128 - 1),
        latitude=st.floats(-90, 90),
        longitude=st.floats(-180, 180),
        accuracy_meters=st.none() | st.floats(0, 1e6, width=32),
        # The phone's clock is right, within the tolerance, or ahead; 0: a ping of version 1.
        received_timestamp_ms=st.sampled_from([0, T_MS + 20]) | st.integers(T_MS - 2_010, T_MS - 1_980),
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda p: (p["event_timestamp_ms"], p["event_id"]),
)


def folded(items: list[dict[str, Any]], state: LocationState = EMPTY) -> LocationState:
    for number, data in enumerate(items, start=state.version + 1):
        state = fold(state, KeyedEvent("anna", number, number + 100, "GpsPing", data))
    return state


@given(pings)
def test_the_highest_by_time_and_id_wins(items: list[dict[str, Any]]) -> None:
    highest = max(items, key=lambda p: (effective_ms(p), p["event_timestamp_ms"], p["event_id"]))
    names = ("rider_id", "latitude", "longitude", "event_id", "accuracy_meters")
    expected = {name: highest[name] for name in names} | {"version": len(items), "position": len(items) + 100}
    expected["event_timestamp_ms"] = effective_ms(highest)
    assert values("anna", folded(items)) == expected


@given(pings, st.randoms())
def test_invariant_6_the_order_of_arrival_changes_no_value(items: list[dict[str, Any]], random: Any) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)
    assert folded(shuffled) == folded(items)


@given(pings, st.integers(0, 20))
def test_any_split_of_a_batch_gives_the_same_bytes(items: list[dict[str, Any]], cut: int) -> None:
    first = decode(encode(folded(items[:cut])))
    assert encode(folded(items[cut:], first)) == encode(folded(items))


@given(pings)
def test_the_record_is_the_same_whether_the_state_was_stored_or_not(items: list[dict[str, Any]]) -> None:
    codec = Codec(LocalSchemaIds())
    state = folded(items)
    record = values("anna", state)
    assert record is not None
    assert values("anna", decode(encode(state))) == record
    assert codec.decode(codec.encode(RECORD, record)) == record


def test_a_late_ping_moves_version_and_position_and_not_the_rider() -> None:
    before = folded([ping_data("anna", T_MS, 1)])
    after = folded([ping_data("anna", T_MS - 60_000, 2)], before)
    assert after == LocationState(2, 102, before.latest)


@given(pings)
def test_a_map_reads_the_same_place_as_every_other_reader(items: list[dict[str, Any]]) -> None:
    state = folded(items)
    fix = state.latest
    assert fix is not None
    assert decode_place(encode(state)) == (state.position, fix.t_ms, fix.latitude, fix.longitude)


def test_a_rider_without_pings_has_no_location_and_is_not_published() -> None:
    state = fold(EMPTY, KeyedEvent("anna", 1, 41, "RiderRegistered", {"event_timestamp_ms": T_MS}))
    assert state == LocationState(1, 41, None)
    assert decode(encode(state)) == state
    assert decode_place(encode(state)) is None
    assert values("anna", state) is None


@pytest.mark.parametrize(
    "data", [b"", b"\x02", b"\x01" + bytes(16), b"\x02" + bytes(17), b"\x02" + bytes(69), b"\x01" + bytes(68)]
)
def test_other_bytes_are_not_a_location(data: bytes) -> None:
    for read in (decode, decode_place):
        with pytest.raises(UnreadableLocationState):
            read(data)
