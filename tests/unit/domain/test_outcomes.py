"""Given the events of orders, then these are the sums of their outcomes by hour, by place and by rider."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.keyed_event import KeyedEvent
from domain.features.orders import MissingPlacement
from domain.features.outcomes.fold import EMPTY, OrderOutcome, fold
from domain.features.outcomes.sums import HOUR_MS, OutcomeChange, OutcomeSums, place_id
from read_models.outcomes.rows import SUMS, changes
from read_models.outcomes.state import UnreadableOutcomeState, decode, encode
from read_models.outcomes.tables import TABLES
from read_models.rows import RowChange, merged
from tests.support.worlds.order_events import START_MS, Event, eta, order_histories, placed, step

ORDER = "order-7"
PLACE = "52.5000,13.4000"
HOUR = START_MS // HOUR_MS
PLACED = placed(ORDER, 0, promised_seconds=2_400)
ASSIGNED = step(ORDER, "DeliveryAssigned", 60)
PICKED_UP = step(ORDER, "DeliveryPickedUp", 700)
ARRIVED = step(ORDER, "DeliveryArrived", 1_500)
COMPLETED = step(ORDER, "DeliveryCompleted", 1_560)
LIFE = (PLACED, ASSIGNED, PICKED_UP, ARRIVED, COMPLETED)


def given_events(*events: Event) -> tuple[OrderOutcome, list[OutcomeChange]]:
    """The state, encoded and decoded after each event, and all changes."""
    state, found = EMPTY, list[OutcomeChange]()
    for number, (key, event_type, data) in enumerate(events, start=1):
        state = fold(decode(encode(state)), KeyedEvent(key, number, 100 + number, event_type, data))
        found += state.changes
    return state, found


def total(found: list[OutcomeChange]) -> dict[tuple[int, str, str | None], dict[str, int]]:
    """The sums by hour, place and rider that are not 0, without rows of zeros."""
    sums: defaultdict[Any, Counter[str]] = defaultdict(Counter)
    for change in found:
        for name, value in change.sums._asdict().items():
            sums[change.hour, change.place, change.rider_id][name] += value
    whole = {row: {name: value for name, value in of.items() if value} for row, of in sums.items()}
    return {row: of for row, of in whole.items() if of}


def test_an_open_order_adds_nothing() -> None:
    for count in range(1, 5):
        assert given_events(*LIFE[:count])[1] == []


def test_a_completed_order_adds_its_stages_and_its_lateness() -> None:
    state, found = given_events(*LIFE)
    assert (state.status, state.version, state.position) == ("completed", 5, 105)
    assert total(found) == {
        (HOUR, PLACE, "anna"): {
            "completed": 1,
            "placed_to_assigned_ms": 60_000,
            "assigned_to_picked_up_ms": 640_000,
            "arrivals": 1,
            "picked_up_to_arrived_ms": 800_000,
            "arrived_to_completed_ms": 60_000,
            "placed_to_completed_ms": 1_560_000,
            "promised": 1,
            "lateness_ms": -840_000,
        }
    }


def test_an_order_without_an_arrival_or_a_promise_adds_none() -> None:
    [(_, sums)] = total(given_events(placed(ORDER, 0), ASSIGNED, PICKED_UP, COMPLETED)[1]).items()
    assert set(sums) == {"completed", "placed_to_assigned_ms", "assigned_to_picked_up_ms", "placed_to_completed_ms"}


def test_a_late_order_is_late() -> None:
    late = placed(ORDER, 0, promised_seconds=1_559)
    [(_, sums)] = total(given_events(late, *LIFE[1:])[1]).items()
    assert (sums["lateness_ms"], sums["late"]) == (1_000, 1)
    on_time = placed(ORDER, 0, promised_seconds=1_560)
    [(_, sums)] = total(given_events(on_time, *LIFE[1:])[1]).items()
    assert (sums.get("lateness_ms"), sums.get("late"), sums["promised"]) == (None, None, 1)


def test_a_stage_that_was_reported_before_the_one_before_it_takes_no_time() -> None:
    arrived = step(ORDER, "DeliveryArrived", 600)
    [(_, sums)] = total(given_events(PLACED, ASSIGNED, PICKED_UP, arrived, COMPLETED)[1]).items()
    assert "picked_up_to_arrived_ms" not in sums
    assert (sums["arrivals"], sums["arrived_to_completed_ms"]) == (1, 960_000)


def test_a_cancelled_order_counts_for_the_rider_who_had_it_and_has_no_durations() -> None:
    cancelled = step(ORDER, "DeliveryCancelled", 800)
    assert total(given_events(PLACED, cancelled)[1]) == {(HOUR, PLACE, None): {"cancelled": 1}}
    assert total(given_events(PLACED, ASSIGNED, cancelled)[1]) == {(HOUR, PLACE, "anna"): {"cancelled": 1}}
    expected = {(HOUR, PLACE, "anna"): {"cancelled": 1, "cancelled_picked_up": 1}}
    assert total(given_events(PLACED, ASSIGNED, PICKED_UP, cancelled)[1]) == expected


def test_a_rider_who_was_taken_off_counts_at_once_and_the_next_one_at_the_end() -> None:
    unassigned = step(ORDER, "DeliveryUnassigned", 90)
    again = step(ORDER, "DeliveryAssigned", 200, "ben")
    assert total(given_events(PLACED, ASSIGNED, unassigned)[1]) == {(HOUR, PLACE, "anna"): {"unassigned": 1}}
    found = total(given_events(PLACED, ASSIGNED, unassigned, again, PICKED_UP, COMPLETED)[1])
    assert found[HOUR, PLACE, "anna"] == {"unassigned": 1}
    of_ben = found[HOUR, PLACE, "ben"]
    assert (of_ben["completed"], of_ben["placed_to_assigned_ms"]) == (1, 200_000), "until the rider who delivered it"


def test_the_hour_is_that_of_the_end() -> None:
    late = step(ORDER, "DeliveryCompleted", 7_200)
    assert {hour for hour, _, _ in total(given_events(*LIFE[:4], late)[1])} == {(START_MS + 7_200_000) // HOUR_MS}


@pytest.mark.parametrize(
    ("second", "error_ms", "beyond"), [(900, -60_000, 0), (960, 0, 0), (1_260, 300_000, 0), (1_261, 301_000, 1)]
)
def test_an_order_is_compared_with_its_first_eta(second: int, error_ms: int, beyond: int) -> None:
    """The ETA at second 300 said 660 s in the median, and at most 960 s."""
    first = eta(ORDER, 300, leg="unassigned", p50_seconds=660.0, p90_seconds=960.0)
    other = eta(ORDER, 500, leg="to_restaurant", p50_seconds=1.0, p90_seconds=2.0)
    completed = step(ORDER, "DeliveryCompleted", second)
    [(_, sums)] = total(given_events(PLACED, first, ASSIGNED, other, PICKED_UP, completed)[1]).items()
    found = [sums.get(name, 0) for name in ("etas", "eta_error_ms", "eta_abs_error_ms", "beyond_p90")]
    assert found == [1, error_ms, abs(error_ms), beyond]


def test_milliseconds_of_an_eta_are_exact() -> None:
    first = eta(ORDER, 300, p50_seconds=0.029, p90_seconds=1_259.999)
    [(_, sums)] = total(given_events(PLACED, first, ASSIGNED, PICKED_UP, COMPLETED)[1]).items()
    assert (sums["eta_error_ms"], sums["beyond_p90"]) == (1_259_971, 1)


def test_an_eta_that_is_recorded_after_the_end_still_counts() -> None:
    """It is recorded behind the answer, so the order may have ended in between. The first is the earliest answer."""
    first = eta(ORDER, 300, p50_seconds=600.0, p90_seconds=2_000.0)
    second = eta(ORDER, 400, p50_seconds=1.0, p90_seconds=2.0)
    whole = (PLACED, first, second, *LIFE[1:])
    for events in ((*LIFE, second, first), (*LIFE, first, second), (*LIFE[:2], second, *LIFE[2:], first), whole):
        assert total(given_events(*events)[1]) == total(given_events(*whole)[1])
    assert given_events(*LIFE, first, second)[0].changes == (), "a later ETA changes nothing"


def test_an_order_that_is_over_again_counts_once() -> None:
    """No aggregate allows it; the fold takes whatever a later one may allow, and never counts an order twice."""
    cancelled = step(ORDER, "DeliveryCancelled", 9_000)
    [(row, sums)] = total(given_events(*LIFE, cancelled)[1]).items()
    assert (row[0], sums) == ((START_MS + 9_000_000) // HOUR_MS, {"cancelled": 1, "cancelled_picked_up": 1})


def test_another_event_changes_version_and_position_alone() -> None:
    before, _ = given_events(*LIFE)
    after = fold(before, KeyedEvent(ORDER, 6, 200, "DeliveryRated", {"order_id": ORDER}))
    assert after == before._replace(version=6, position=200, changes=())


@pytest.mark.parametrize("event", [ASSIGNED, eta(ORDER, 5)], ids=lambda event: event[1])
def test_an_order_that_was_not_placed_is_parked(event: Event) -> None:
    with pytest.raises(MissingPlacement):
        given_events(event)


@pytest.mark.parametrize(
    "own", [{"p50_seconds": math.nan}, {"p90_seconds": math.inf}, {"event_id": "none"}], ids=lambda own: next(iter(own))
)
def test_invariant_16_a_forged_eta_is_an_error_of_its_order(own: dict[str, Any]) -> None:
    with pytest.raises((ValueError, OverflowError)):
        given_events(PLACED, eta(ORDER, 5, **own))


@pytest.mark.parametrize("promised", [-(1 << 62), 1 << 62])
def test_invariant_16_a_forged_amount_is_an_error_of_its_order_and_no_sum_of_others(promised: int) -> None:
    with pytest.raises(ValueError, match="impossible"):
        given_events(placed(ORDER, 0, promised_seconds=promised), *LIFE[1:])


@pytest.mark.parametrize(
    ("latitude", "longitude", "place"),
    [
        (52.52, 13.4049, "52.5200,13.4049"),
        (52.52009, 13.40499, "52.5200,13.4049"),
        (-0.0, 0.0, "0.0000,0.0000"),
        (-0.00001, -33.86881, "-0.0001,-33.8689"),
        (90.0, -180.0, "90.0000,-180.0000"),
    ],
)
def test_a_place_is_about_eleven_metres(latitude: float, longitude: float, place: str) -> None:
    assert place_id(latitude, longitude) == place


def test_a_state_that_was_not_written_here_is_refused() -> None:
    whole = encode(given_events(PLACED, eta(ORDER, 5), ASSIGNED)[0])
    for data in (b"", whole[:-1], whole + b"x", b"\x09" + whole[1:], whole[:-1] + b"\xff"):
        with pytest.raises(UnreadableOutcomeState):
            decode(data)


@given(history=order_histories())
def test_every_state_survives_its_bytes(history: list[Event]) -> None:
    for order in {key for key, _, _ in history}:
        state, _ = given_events(*(event for event in history if event[0] == order))
        assert decode(encode(state)) == state._replace(changes=())
        assert encode(decode(encode(state))) == encode(state)


@given(history=order_histories())
def test_the_sums_are_those_of_all_orders_computed_from_their_ends(history: list[Event]) -> None:
    """By a second definition: each order once, from its last end, its last stages and its earliest ETA."""
    expected: defaultdict[Any, Counter[str]] = defaultdict(Counter)
    found: list[OutcomeChange] = []
    for order in sorted({key for key, _, _ in history}):
        events = [(kind, data) for key, kind, data in history if key == order]
        found += given_events(*(event for event in history if event[0] == order))[1]
        for row, sums in outcome(events):
            expected[row].update(sums)
    assert total(found) == {
        row: {name: value for name, value in sums.items() if value} for row, sums in expected.items()
    }


def outcome(events: list[tuple[str, dict[str, Any]]]) -> list[tuple[Any, dict[str, int]]]:
    first, times, rider, found = events[0][1], dict[str, int](), None, []
    place = place_id(first["restaurant_latitude"], first["restaurant_longitude"])
    last = ""
    for kind, data in events:
        at = data["event_timestamp_ms"]
        if kind == "DeliveryUnassigned":
            found.append(((at // HOUR_MS, place, rider), {"unassigned": 1}))
            rider, last = None, kind
            times.pop("DeliveryAssigned", None)
        elif kind != "EtaServed":
            rider = data["rider_id"] if kind == "DeliveryAssigned" else rider
            times[kind] = at
            last = kind
    end = times.get(last, 0)
    row = (end // HOUR_MS, place, rider)
    picked_up, arrived = times.get("DeliveryPickedUp"), times.get("DeliveryArrived")
    if last == "DeliveryCancelled":
        found.append((row, {"cancelled": 1, "cancelled_picked_up": int(picked_up is not None)}))
    if last != "DeliveryCompleted":
        return found
    assigned, start = times.get("DeliveryAssigned"), times["DeliveryPlaced"]
    sums = {"completed": 1, "placed_to_completed_ms": max(0, end - start)}
    if assigned is not None:
        sums["placed_to_assigned_ms"] = max(0, assigned - start)
        if picked_up is not None:
            sums["assigned_to_picked_up_ms"] = max(0, picked_up - assigned)
    if arrived is not None:
        sums |= {"arrivals": 1, "arrived_to_completed_ms": max(0, end - arrived)}
        if picked_up is not None:
            sums["picked_up_to_arrived_ms"] = max(0, arrived - picked_up)
    if first["promised_seconds"] is not None:
        lateness = sums["placed_to_completed_ms"] - 1_000 * first["promised_seconds"]
        sums |= {"promised": 1, "lateness_ms": lateness, "late": int(lateness > 0)}
    etas = [data for kind, data in events if kind == "EtaServed"]
    if etas:
        earliest = min(etas, key=lambda data: (data["event_timestamp_ms"], UUID(data["event_id"]), data["p50_seconds"]))
        at, p50, p90 = (
            earliest["event_timestamp_ms"],
            round(earliest["p50_seconds"] * 1_000),
            round(earliest["p90_seconds"] * 1_000),
        )
        error = end - at - p50
        sums |= {"etas": 1, "eta_error_ms": error, "eta_abs_error_ms": abs(error), "beyond_p90": int(end > at + p90)}
    return [*found, (row, sums)]


def test_an_order_changes_three_rows_and_one_without_a_rider_two() -> None:
    state, _ = given_events(*LIFE)
    rows = {row.table: row for row in changes(ORDER, state)}
    assert set(rows) == {table.table.name for table in TABLES}
    assert {row.add for row in rows.values()} == {tuple(state.changes[0].sums)}
    assert rows["outcome_riders"].key == ("anna", rows["outcome_hours"].key[0])
    assert rows["outcome_places"].key[0] == PLACE
    assert rows["outcome_hours"].key[0].timestamp() * 1_000 == HOUR * HOUR_MS
    cancelled, _ = given_events(PLACED, step(ORDER, "DeliveryCancelled", 5))
    assert [row.table for row in changes(ORDER, cancelled)] == ["outcome_hours", "outcome_places"]


@given(st.lists(st.sampled_from(LIFE[1:]), max_size=8))
def test_the_rows_of_a_batch_are_one_a_row(events: list[Event]) -> None:
    state, rows = EMPTY, list[RowChange]()
    for number, (key, event_type, data) in enumerate([PLACED, *events], start=1):
        state = fold(state, KeyedEvent(key, number, number, event_type, data))
        rows += changes(key, state)
    one = merged(rows)
    assert len({(row.table, row.key) for row in one}) == len(one)
    assert all(len(row.add) == len(SUMS) == len(OutcomeSums()) for row in one)
