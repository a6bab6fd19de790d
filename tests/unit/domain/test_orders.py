"""The fold of an order, and what it adds to the sums of its restaurant's cell."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events.contracts import Codec
from domain.features.keyed_event import KeyedEvent
from domain.features.orders import (
    EMPTY,
    OPEN_SLOT,
    OPEN_STATUSES,
    PARTIAL_SLOTS,
    MissingPlacement,
    OrderState,
    fold,
    partials,
)
from domain.features.partials import PartialSlot, PartialTable, apply_changes, collect
from domain.features.traffic.steps import BUCKET_MS, cell_at
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.worlds.order_lives import OrderHistory, order_histories, placed_data, step_data

T_MS = 1_790_000_100_000
MINUTE_MS = 60_000
CELL = format(cell_at(52.52, 13.4), "x")
Event = tuple[str, dict[str, Any]]


def placed(**fields: Any) -> Event:
    return "DeliveryPlaced", placed_data("o", T_MS, **fields)


def step(name: str, minute: float, **fields: Any) -> Event:
    return f"Delivery{name}", step_data("o", T_MS + round(minute * MINUTE_MS), **fields)


RIDE = [placed(), step("Assigned", 1), step("PickedUp", 12), step("Arrived", 20), step("Completed", 22)]


def folded(*events: Event) -> tuple[OrderState, PartialTable]:
    """The last state, and the table of all deltas."""
    state, table = EMPTY, PartialTable()
    for number, (event_type, data) in enumerate(events, start=1):
        before, state = state, fold(state, KeyedEvent("o", number, 10 * number, event_type, data))
        changes: PartialTable = {}
        collect(changes, partials(before, state))
        apply_changes(table, changes)
    return state, table


def test_a_delivery_from_placing_to_hand_over() -> None:
    state, table = folded(*RIDE)
    assert state == OrderState(
        version=5,
        position=50,
        status="completed",
        rider_id="anna",
        restaurant=(52.52, 13.4),
        customer=(52.53, 13.41),
        time_zone="Europe/Berlin",
        placed_ms=T_MS,
        assigned_ms=T_MS + MINUTE_MS,
        picked_up_ms=T_MS + 12 * MINUTE_MS,
        arrived_ms=T_MS + 20 * MINUTE_MS,
        completed_ms=T_MS + 22 * MINUTE_MS,
        latest_step_ms=T_MS + 22 * MINUTE_MS,
        preparation_seconds=600,
        promised_seconds=1_800,
        items=2,
        assignments=1,
        city="Berlin",
    )
    bucket = (T_MS + 22 * MINUTE_MS) // BUCKET_MS
    assert table == {
        OPEN_SLOT: (0, {}),
        bucket % 12: (bucket, {CELL: (1, 22 * MINUTE_MS, -8 * MINUTE_MS, 1)}),
    }


@pytest.mark.parametrize("steps", range(1, 5))
def test_an_order_is_open_until_it_is_over(steps: int) -> None:
    assert folded(*RIDE[:steps])[1] == {OPEN_SLOT: (0, {CELL: (1,)})}
    state, table = folded(*RIDE[:steps], step("Cancelled", 30))
    assert (state.status, state.cancelled_ms, table) == ("cancelled", T_MS + 30 * MINUTE_MS, {OPEN_SLOT: (0, {})})


def test_an_unassignment_takes_the_rider_away_and_the_next_one_counts() -> None:
    state, _ = folded(*RIDE[:2], step("Unassigned", 3))
    assert (state.status, state.rider_id, state.assigned_ms, state.assignments) == ("placed", None, None, 1)
    assert state.latest_step_ms == T_MS + 3 * MINUTE_MS
    state, table = folded(*RIDE[:2], step("Unassigned", 3), step("Assigned", 4, rider_id="ben"))
    assert (state.status, state.rider_id, state.assigned_ms) == ("assigned", "ben", T_MS + 4 * MINUTE_MS)
    assert (state.assignments, table) == (2, {OPEN_SLOT: (0, {CELL: (1,)})})


def test_an_order_without_a_promise_has_a_duration_and_no_lateness() -> None:
    _, table = folded(placed(promised_seconds=None), *RIDE[1:])
    bucket = (T_MS + 22 * MINUTE_MS) // BUCKET_MS
    assert table[bucket % 12] == (bucket, {CELL: (1, 22 * MINUTE_MS, 0, 0)})


def test_a_step_with_an_earlier_time_is_kept_and_no_duration_is_negative() -> None:
    state, table = folded(placed(), step("Assigned", 5), step("PickedUp", 4), step("Completed", -1))
    assert (state.picked_up_ms, state.latest_step_ms) == (T_MS + 4 * MINUTE_MS, T_MS - MINUTE_MS)
    bucket = (T_MS - MINUTE_MS) // BUCKET_MS
    assert table[bucket % 12] == (bucket, {CELL: (1, 0, -1_800_000, 1)})


def test_invariant_6_a_step_of_a_clock_that_is_ahead_counts_at_its_reception() -> None:
    ahead = step_data("o", T_MS + 10 * MINUTE_MS) | {"received_timestamp_ms": T_MS + 6 * MINUTE_MS}
    state, _ = folded(placed(), ("DeliveryAssigned", ahead))
    assert state.assigned_ms == state.latest_step_ms == T_MS + 6 * MINUTE_MS


def test_other_events_of_the_stream_change_version_and_position_alone() -> None:
    before, table = folded(*RIDE)
    after, same = folded(*RIDE, ("EtaServed", {"order_id": "o", "event_timestamp_ms": T_MS}))
    assert (after, same) == (before._replace(version=6, position=60), table)


def test_a_stream_that_starts_with_another_event_is_refused() -> None:
    with pytest.raises(MissingPlacement):
        folded(step("Assigned", 1))


def direct(history: OrderHistory) -> PartialTable:
    """The table by counting orders, without any state of the fold."""
    by_order: dict[str, list[Event]] = defaultdict(list)
    for order, event_type, data in history:
        by_order[order].append((event_type, data))
    opened: dict[str, tuple[int, ...]] = {}
    finished: dict[tuple[int, str], tuple[int, ...]] = {}
    for events in by_order.values():
        first, (last_type, last) = events[0][1], events[-1]
        cell = format(cell_at(first["restaurant_latitude"], first["restaurant_longitude"]), "x")
        if last_type == "DeliveryCompleted":
            duration = max(0, last["event_timestamp_ms"] - first["event_timestamp_ms"])
            promised = first["promised_seconds"]
            amounts = (1, duration, 0 if promised is None else duration - 1_000 * promised, int(promised is not None))
            place = last["event_timestamp_ms"] // BUCKET_MS, cell
            before = finished.get(place, (0, 0, 0, 0))
            finished[place] = tuple(a + b for a, b in zip(before, amounts, strict=True))
        elif last_type != "DeliveryCancelled":
            opened[cell] = (opened.get(cell, (0,))[0] + 1,)
    table = {OPEN_SLOT: PartialSlot(0, opened)}
    for bucket in sorted({bucket for bucket, _ in finished}):
        table[bucket % 12] = PartialSlot(bucket, {cell: sums for (b, cell), sums in finished.items() if b == bucket})
    return table


def tabled(history: OrderHistory) -> tuple[dict[str, OrderState], PartialTable]:
    states: dict[str, OrderState] = defaultdict(lambda: EMPTY)
    table: PartialTable = {}
    for position, (order, event_type, data) in enumerate(history, start=1):
        before = states[order]
        states[order] = fold(before, KeyedEvent(order, before.version + 1, position, event_type, data))
        changes: PartialTable = {}
        collect(changes, partials(before, states[order]))
        apply_changes(table, changes)
    return dict(states), table


@given(order_histories())
def test_the_sums_are_those_of_counting_the_orders(history: OrderHistory) -> None:
    states, table = tabled(history)
    assert table == direct(history)
    assert set(table) <= set(range(PARTIAL_SLOTS))
    open_orders = sum(state.status in OPEN_STATUSES for state in states.values())
    assert sum(sums[0] for sums in table[OPEN_SLOT].sums.values()) == open_orders


@given(order_histories(), st.randoms(use_true_random=False))
def test_invariant_6_the_arrival_of_different_orders_changes_no_sum(history: OrderHistory, chance: Any) -> None:
    places = [order for order, _, _ in history]
    chance.shuffle(places)
    waiting = {order: [one for one in history if one[0] == order] for order in places}
    states, table = tabled([waiting[order].pop(0) for order in places])
    expected, same = tabled(history)
    assert table == same
    assert {k: s._replace(position=0) for k, s in states.items()} == {
        k: s._replace(position=0) for k, s in expected.items()
    }


@given(order_histories())
def test_the_fold_reads_what_the_contracts_decode(history: OrderHistory) -> None:
    codec = Codec(LocalSchemaIds())
    decoded = [
        (order, kind, dict(codec.decode(codec.encode(kind, data | {"reason": None})))) for order, kind, data in history
    ]
    assert tabled(decoded) == tabled(history)
