"""Given the events of an order, then this is what dispatchers and customers see of it."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.delivery_row import EMPTY, DeliveryRow, fold
from domain.features.keyed_event import KeyedEvent
from read_models.deliveries.rows import COLUMNS, changes
from read_models.deliveries.state import UnreadableDeliveryState, decode, encode
from read_models.deliveries.tables import TABLES
from read_models.rows import RowChange, merged
from tests.support.worlds.order_events import START_MS, Event, order_histories, placed, step

ORDER = "order-7"


def given_events(*events: Event) -> DeliveryRow:
    state = EMPTY
    for number, (key, event_type, data) in enumerate(events, start=1):
        state = fold(state, KeyedEvent(key, number, 100 + number, event_type, data))
    return state


def at(second: int) -> int:
    return START_MS + second * 1_000


PLACED = placed(ORDER, 0, preparation_seconds=600, promised_seconds=2_400, items=3)
ASSIGNED = step(ORDER, "DeliveryAssigned", 60)
PICKED_UP = step(ORDER, "DeliveryPickedUp", 700)
ARRIVED = step(ORDER, "DeliveryArrived", 1_500)


def test_a_placed_order_has_what_was_placed_and_no_rider() -> None:
    assert given_events(PLACED)._asdict() == {
        "version": 1,
        "position": 101,
        "status": "placed",
        "rider_id": None,
        "restaurant_latitude": 52.5,
        "restaurant_longitude": 13.4,
        "customer_latitude": 52.52,
        "customer_longitude": 13.41,
        "city": "Berlin",
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
        "placed_at_ms": at(0),
        "assigned_at_ms": None,
        "picked_up_at_ms": None,
        "arrived_at_ms": None,
        "completed_at_ms": None,
        "cancelled_at_ms": None,
        "preparation_seconds": 600,
        "promised_seconds": 2_400,
        "items": 3,
    }


def test_each_stage_adds_its_time_and_keeps_the_others() -> None:
    row = given_events(PLACED, ASSIGNED, PICKED_UP, ARRIVED, step(ORDER, "DeliveryCompleted", 1_600))
    assert (row.version, row.position, row.status, row.rider_id) == (5, 105, "completed", "anna")
    assert row[11:17] == (at(0), at(60), at(700), at(1_500), at(1_600), None)


def test_an_unassigned_order_is_placed_again_without_a_rider() -> None:
    row = given_events(PLACED, ASSIGNED, step(ORDER, "DeliveryUnassigned", 90))
    assert (row.status, row.rider_id, row.assigned_at_ms) == ("placed", None, None)
    later = given_events(
        PLACED, ASSIGNED, step(ORDER, "DeliveryUnassigned", 90), step(ORDER, "DeliveryAssigned", 95, "ben")
    )
    assert (later.status, later.rider_id, later.assigned_at_ms) == ("assigned", "ben", at(95))


def test_a_cancelled_order_names_the_rider_who_had_it() -> None:
    row = given_events(PLACED, ASSIGNED, step(ORDER, "DeliveryCancelled", 90))
    assert (row.status, row.rider_id, row.cancelled_at_ms) == ("cancelled", "anna", at(90))


def test_the_order_of_recording_decides_and_not_the_times() -> None:
    """The phone was offline when the rider picked up; the dispatcher had assigned later by his own clock."""
    row = given_events(PLACED, step(ORDER, "DeliveryAssigned", 900), PICKED_UP)
    assert (row.status, row.assigned_at_ms, row.picked_up_at_ms) == ("picked_up", at(900), at(700))


def test_a_time_is_shown_as_the_command_gave_it_also_of_a_clock_that_is_ahead() -> None:
    key, kind, data = placed(ORDER, 0)
    row = given_events((key, kind, {**data, "received_timestamp_ms": at(-240)}))
    assert row.placed_at_ms == at(0)


def test_an_event_that_changes_nothing_here_moves_version_and_position() -> None:
    row = given_events(PLACED, ASSIGNED, step(ORDER, "EtaServed", 61))
    assert row == given_events(PLACED, ASSIGNED)._replace(version=3, position=103)


def test_an_order_has_no_row_before_it_is_placed() -> None:
    assert changes(ORDER, EMPTY) == ()


@given(order_histories(), st.integers(0, 40))
def test_any_batches_of_an_order_leave_the_row_of_its_last_event(history: list[Event], cut: int) -> None:
    state, rows = EMPTY, list[RowChange]()
    for number, (_, event_type, data) in enumerate((event for event in history if event[0] == history[0][0]), start=1):
        state = fold(decode(encode(state)), KeyedEvent(ORDER, number, 100 + number, event_type, data))
        rows += changes(ORDER, state)
    batches = [*merged(rows[:cut]), *merged(rows[cut:])]
    assert merged(rows) == merged(batches) == [RowChange("deliveries", (ORDER,), (), tuple(state))]


numbers = st.integers(-(1 << 63), (1 << 63) - 1)
states = st.builds(
    DeliveryRow,
    numbers,
    numbers,
    st.sampled_from(["", "placed", "assigned", "picked_up", "arrived", "completed", "cancelled"]),
    st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=128),
    *(st.floats(allow_nan=False) for _ in range(4)),
    *(st.text(st.characters(exclude_categories=["Cs"]), max_size=128) for _ in range(3)),
    numbers,
    *(st.none() | numbers for _ in range(8)),
)


@given(states)
def test_the_bytes_are_the_state(state: DeliveryRow) -> None:
    assert decode(encode(state)) == state


@given(st.binary(max_size=300) | st.builds(lambda state, cut: encode(state)[:cut], states, st.integers(0, 300)))
def test_other_bytes_are_refused_or_are_a_state(data: bytes) -> None:
    try:
        state = decode(data)
    except UnreadableDeliveryState:
        return
    assert decode(encode(state)) == state or any(map(math.isnan, state[4:8]))


def test_the_bytes_of_format_1() -> None:
    """Changed bytes need a new format, and a rebuild: states that are stored have these."""
    row = given_events(PLACED, ASSIGNED)
    assert encode(row).hex() == (
        "010201e100000000000000020000000000000066404a400000000000402acccccccccccd404a428f5c28f5c3402ad1eb851eb852"
        "000001a0c4506c00000001a0c451566000000000000000000000000000000000000000000000000000000000000000000000000000"
        "000258000000000000096000000000000000030004616e6e6100064265726c696e000d4575726f70652f4265726c696e0003455552"
    )


def test_the_table_has_a_column_for_each_field_and_no_sums() -> None:
    (table,) = TABLES
    assert [c.name for c in table.table.columns] == ["generation", "order_id", "shard", *COLUMNS]
    assert (table.key, table.add, table.latest) == (("order_id",), (), COLUMNS)
    assert not [name for name in EMPTY._fields if name not in table.latest]


@pytest.mark.parametrize("text", ["x" * 65_536, "\ud800"])
def test_a_text_that_no_command_can_give_is_not_written(text: str) -> None:
    """The worker parks the order at that event, and no other order waits (invariant 10)."""
    with pytest.raises((struct.error, UnicodeEncodeError)):
        encode(given_events(placed(ORDER, 0, city=text)))
