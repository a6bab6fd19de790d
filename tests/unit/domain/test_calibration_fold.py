"""The fold of an order for the calibration: which answers are scored, when, and what they add to the tables."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events.contracts import Codec, versions
from domain.features.calibration.fold import (
    EMPTY,
    LEGS,
    PARTIAL_SLOTS,
    Answered,
    CalibrationState,
    cell_of,
    city_name,
    field_of,
    fold,
    partials,
)
from domain.features.calibration.online import HOUR_MS
from domain.features.calibration.scores import BINS, bin_of, score
from domain.features.keyed_event import KeyedEvent
from domain.features.orders import MissingPlacement
from domain.features.partials import PartialSlot, PartialTable, apply_changes, collect
from domain.identifiers import SHARDS
from projections.core.projection import MAX_PARTIAL_SLOTS
from read_models.calibration.state import UnreadableCalibrationState, decode, encode
from read_models.city.calibration import ScoreHours
from read_models.city.content import CALIBRATION_PERMANENT, TableVector, tables_of
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.worlds.answered_orders import answered_histories, eta_data
from tests.support.worlds.order_lives import OrderHistory, placed_data, step_data

T_MS = 1_790_000_100_000
HOUR = T_MS // HOUR_MS
Event = tuple[str, dict[str, Any]]


def placed(**fields: Any) -> Event:
    return "DeliveryPlaced", placed_data("o", T_MS, **fields)


def answered(second: int, leg: str = "to_customer", **fields: Any) -> Event:
    return "EtaServed", eta_data("o", T_MS + 1_000 * second, leg=leg, **fields)


def step(name: str, second: int) -> Event:
    return f"Delivery{name}", step_data("o", T_MS + 1_000 * second)


def folded(*events: Event) -> tuple[CalibrationState, PartialTable]:
    """The last state, and the table of all deltas; each state is encoded and decoded on the way."""
    state, table = EMPTY, PartialTable()
    for number, (event_type, data) in enumerate(events, start=1):
        before, state = state, fold(state, KeyedEvent("o", number, 10 * number, event_type, data))
        assert decode(encode(state)) == state
        changes: PartialTable = {}
        collect(changes, partials(before, state))
        apply_changes(table, changes)
    return state, table


def bins(*found: int) -> tuple[int, ...]:
    counts = [0] * BINS
    for each in found:
        counts[bin_of(each)] += 1
    return tuple(counts)


def table_of(hour: int, **fields: tuple[int, ...]) -> PartialTable:
    return {hour % PARTIAL_SLOTS: _slot(hour, fields)}


def _slot(hour: int, fields: dict[str, tuple[int, ...]]) -> PartialSlot:
    return PartialSlot(hour, {name.replace("__", "/"): counts for name, counts in fields.items()})


def test_the_answer_of_each_leg_is_scored_at_the_hand_over() -> None:
    early, late = answered(10, "unassigned"), answered(300, "to_customer", p50_seconds=60.0, p90_seconds=120.0)
    late[1].update(model_p50_seconds=100.0, model_p90_seconds=200.0)
    state, table = folded(placed(), early, step("Assigned", 20), late, step("Completed", 550))
    assert state.completed_ms == T_MS + 550_000
    assert state.answers == (
        Answered("unassigned", T_MS + 10_000, 600_000, 900_000),
        Answered("to_customer", T_MS + 300_000, 100_000, 200_000),
    )
    # By the quantiles of the model: those that were served already hold earlier outcomes.
    expected = {"unassigned__Berlin": bins(-200), "to_customer__Berlin": bins(1_500)}
    assert table == table_of(state.completed_ms // HOUR_MS, **expected)


@pytest.mark.parametrize("end", [(), (step("Cancelled", 500),), (step("Assigned", 1), step("Unassigned", 2))])
def test_an_order_that_is_not_completed_adds_nothing(end: tuple[Event, ...]) -> None:
    assert folded(placed(), answered(10), *end)[1] == {}


def test_only_the_first_answer_of_a_leg_counts() -> None:
    _, table = folded(placed(), answered(10), answered(400), step("Completed", 610))
    assert table == table_of(HOUR, to_customer__Berlin=bins(0))


def test_an_answer_that_is_recorded_after_the_completion_is_scored_then_and_once() -> None:
    events = placed(), answered(10, "to_restaurant"), step("Completed", 610)
    one = folded(*events)[1]
    assert one == table_of(HOUR, to_restaurant__Berlin=bins(0))
    both = folded(*events, answered(609), answered(609))[1]
    assert both == table_of(
        HOUR, to_restaurant__Berlin=bins(0), to_customer__Berlin=bins(score(600_000, 900_000, 1_000))
    )


def test_an_answer_of_before_the_calibration_is_scored_by_what_was_served() -> None:
    old = answered(0, p50_seconds=300.0, p90_seconds=400.0, model_p50_seconds=None, model_p90_seconds=None)
    assert folded(placed(), old, step("Completed", 350))[1] == table_of(HOUR, to_customer__Berlin=bins(500))


def test_invariant_12_an_answer_of_the_first_contract_is_read_without_the_quantiles_of_the_model() -> None:
    first, second = versions("EtaServed")
    added = [field["name"] for field in second.schema["fields"][len(first.schema["fields"]) :]]
    assert first.schema["fields"] == second.schema["fields"][: len(first.schema["fields"])]
    assert added == ["model_p50_seconds", "model_p90_seconds"]
    codec = Codec(LocalSchemaIds())
    data = eta_data("o", T_MS)
    assert codec.decode(codec.encode("EtaServed", data)) == data


@pytest.mark.parametrize(
    "fields",
    [
        {"leg": "on_the_moon"},
        {"model_p50_seconds": float("nan")},
        {"model_p90_seconds": float("inf")},
        {"model_p50_seconds": -1.0},
        {"model_p50_seconds": 901.0},
        {"model_p50_seconds": None, "p50_seconds": 1e300, "p90_seconds": 1e300},
    ],
)
def test_invariant_16_an_answer_that_no_service_gives_parks_its_order(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no answer of this service"):
        folded(placed(), answered(10, **fields))


def test_a_stream_that_starts_with_another_event_is_refused() -> None:
    with pytest.raises(MissingPlacement):
        folded(answered(10))


@pytest.mark.parametrize("city", ["a\nb", "x" * 129, "\x7f"])
def test_invariant_16_a_city_that_no_command_accepts_is_none(city: str) -> None:
    assert folded(placed(city=city))[0].city == city_name(city) == ""


@given(st.sampled_from(LEGS), st.text(max_size=8))
def test_a_field_names_its_cell(leg: str, city: str) -> None:
    assert cell_of(field_of(leg, city)) == (leg, city)


def test_the_slots_are_more_than_the_hours_that_count_and_fit_a_table() -> None:
    assert 28 * 24 + 1 < PARTIAL_SLOTS <= MAX_PARTIAL_SLOTS


def direct(history: OrderHistory) -> dict[int, dict[str, tuple[int, ...]]]:
    """The counts by hour and field, order by order, without any state of the fold."""
    by_order: dict[str, list[Event]] = defaultdict(list)
    for order, event_type, data in history:
        by_order[order].append((event_type, data))
    found: dict[int, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for events in by_order.values():
        ends = [data["event_timestamp_ms"] for kind, data in events if kind == "DeliveryCompleted"]
        first: dict[str, dict[str, Any]] = {}
        for kind, data in events:
            if kind == "EtaServed":
                first.setdefault(data["leg"], data)
        for end in ends:
            for leg, data in first.items():
                known = data["model_p50_seconds"] is not None
                p50, p90 = (
                    round(1_000 * data[f"{'model_' if known else ''}{name}_seconds"]) for name in ("p50", "p90")
                )
                one = bins(score(p50, p90, end - data["event_timestamp_ms"]))
                field, hour = f"{leg}/{events[0][1]['city']}", end // HOUR_MS
                before = found[hour].get(field, (0,) * BINS)
                found[hour][field] = tuple(a + b for a, b in zip(before, one, strict=True))
    return dict(found)


def tables_by_shard(history: OrderHistory, shard_of_order: dict[str, int]) -> dict[int, PartialTable]:
    states: dict[str, CalibrationState] = defaultdict(lambda: EMPTY)
    tables: dict[int, PartialTable] = defaultdict(dict)
    for number, (order, event_type, data) in enumerate(history, start=1):
        before = states[order]
        states[order] = fold(before, KeyedEvent(order, before.version + 1, number, event_type, data))
        changes: PartialTable = {}
        collect(changes, partials(before, states[order]))
        apply_changes(tables[shard_of_order.get(order, 0)], changes)
    return dict(tables)


@given(answered_histories(), st.randoms(use_true_random=False))
def test_invariant_8_the_tables_are_the_count_of_the_orders_however_they_are_split_over_shards(
    history: OrderHistory, chance: Any
) -> None:
    split = {order: chance.randrange(3) for order, _, _ in history}
    tables = list(tables_by_shard(history, split).values())
    chance.shuffle(tables)
    merged = tables_of(TableVector(1, (0,) * SHARDS), tables, CALIBRATION_PERMANENT)
    expected = direct(history)
    assert merged.buckets == {hour % PARTIAL_SLOTS: hour for hour in expected}
    assert merged.permanent == {hour % PARTIAL_SLOTS: fields for hour, fields in expected.items()}


@given(answered_histories(), st.randoms(use_true_random=False))
def test_invariant_6_the_order_in_which_orders_come_changes_no_table(history: OrderHistory, chance: Any) -> None:
    of_orders: dict[str, list[Any]] = defaultdict(list)
    for event in history:
        of_orders[event[0]].append(event)
    names = list(of_orders)
    chance.shuffle(names)
    again = [event for name in names for event in of_orders[name]]
    assert tables_by_shard(again, {}) == tables_by_shard(history, {})


def test_a_newer_hour_in_one_shard_replaces_the_slot_of_all() -> None:
    """A slot holds hours that are 29 days apart. The newest of any shard counts, in whatever order shards are read."""
    old = folded(placed(), answered(10), step("Completed", 610))[1]
    seconds = 3_600 * PARTIAL_SLOTS
    later = folded(placed(), answered(seconds), step("Completed", seconds + 600))[1]
    vector = TableVector(1, (0,) * SHARDS)
    found = [tables_of(vector, tables, CALIBRATION_PERMANENT) for tables in ([old, later], [later, old], [old, old])]
    slot = HOUR % PARTIAL_SLOTS
    assert [one.buckets for one in found] == [{slot: HOUR + PARTIAL_SLOTS}] * 2 + [{slot: HOUR}]
    assert [sum(one.permanent[slot]["to_customer/Berlin"]) for one in found] == [1, 1, 2]


hour_counts = st.dictionaries(
    st.sampled_from(["to_customer/Berlin", "to_customer/", "unassigned/Berlin"]),
    st.integers(0, BINS - 1).map(lambda number: tuple(3 * (n == number) for n in range(BINS))),
    max_size=3,
)


@given(
    st.lists(
        st.dictionaries(
            st.integers(HOUR - 5, HOUR + 4) | st.sampled_from([HOUR - 700, HOUR + PARTIAL_SLOTS]),
            hour_counts,
            max_size=4,
        ),
        min_size=1,
        max_size=5,
    ),
    st.lists(st.sampled_from([0, 5, 5, 5, 30, 700]), min_size=5, max_size=5),
)
def test_hours_kept_change_by_change_give_what_the_whole_gives(
    steps: list[dict[int, dict[str, tuple[int, ...]]]], asked: list[int]
) -> None:
    kept, before = ScoreHours(), tables_of(TableVector(1, ()), [], CALIBRATION_PERMANENT)
    for found, hour in zip(steps, asked, strict=False):
        tables = [{each % PARTIAL_SLOTS: _slot(each, fields)} for each, fields in found.items()]
        now = tables_of(TableVector(1, ()), tables, CALIBRATION_PERMANENT)
        slots = before.permanent.keys() | now.permanent.keys()
        changed = {slot: before.permanent.get(slot, {}).keys() | now.permanent.get(slot, {}).keys() for slot in slots}
        kept.update(now.permanent, now.buckets, changed)
        whole = ScoreHours()
        whole.update(now.permanent, now.buckets, now.permanent)
        at_ms = (HOUR + hour) * HOUR_MS
        assert kept.digest() == whole.digest()
        assert kept.calibration(at_ms).rows() == whole.calibration(at_ms).rows()
        before = now


def test_regression_a_change_of_an_old_hour_does_not_hide_one_that_counts() -> None:
    """Only the first changed hour was kept: one that counts no longer hid a late outcome of one that does."""
    kept, at_ms = ScoreHours(), (HOUR + 5) * HOUR_MS
    old, late = HOUR - 690, HOUR + 1
    sums: dict[int, dict[str, tuple[int, ...]]] = {}
    buckets: dict[int, int] = {}
    found = []
    for hours in ([HOUR], [old], [late]):
        for hour in hours:
            slot = hour % PARTIAL_SLOTS
            sums[slot], buckets[slot] = {"to_customer/Berlin": bins(2_000)}, hour
        kept.update(sums, buckets, {hour % PARTIAL_SLOTS: ["to_customer/Berlin"] for hour in hours})
        found.append(kept.calibration(at_ms).of("to_customer", "Berlin").p50)
    assert found[0] == found[1] < found[2]


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d + b"x", lambda _: b"", lambda d: b"\x09" + d[1:]])
def test_damaged_bytes_are_rejected(damage: Any) -> None:
    data = encode(folded(placed(), answered(10))[0])
    with pytest.raises(UnreadableCalibrationState):
        decode(damage(data))
    assert decode(data).answers


def test_the_stored_bytes_of_a_state_stay() -> None:
    state = CalibrationState(3, 30, True, "Köln", T_MS, (Answered("to_customer", T_MS - 5_000, 600_000, 900_000),))
    assert encode(state).hex() == STORED


STORED = (
    "010000000000000003000000000000001e01000001a0c451f2a00005010300"
    "0001a0c451df1800000000000927c000000000000dbba04bc3b66c6e"
)
