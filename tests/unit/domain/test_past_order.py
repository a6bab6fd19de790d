"""An order of the past becomes the commands that would have recorded it, and nothing is known before it was."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.deliveries.commands import Assign
from domain.deliveries.history_batch import HistoryBatch, decide_history
from domain.deliveries.past_order import (
    IMPORTED,
    UNTIMED,
    PastOrder,
    PastStage,
    check_commands,
    check_past_order,
    command_of,
    has_assignment,
    rider_of_order,
    steps_of,
)
from domain.errors import InvalidTimeZone, OutOfRange, StepsContradict, TimestampTooOld
from domain.identifiers import check_rider_id
from tests.unit.domain.given import NOW_MS

MINUTE_MS = 60_000


def a_past_order(order_id: str = "order-1", **fields: Any) -> PastOrder:
    usual = PastOrder(
        order_id, (60.17, 24.94), (60.18, 24.93), "Europe/Helsinki", "EUR", NOW_MS, NOW_MS + 30 * MINUTE_MS
    )
    return usual._replace(**fields)


def minutes(order: PastOrder) -> list[tuple[str, int | None, int]]:
    """Each step with its time and the time of its recording, in minutes after the placement."""
    return [
        (
            step.stage.name,
            None if step.at_ms is None else (step.at_ms - NOW_MS) // MINUTE_MS,
            (step.recorded_ms - NOW_MS) // MINUTE_MS,
        )
        for step in steps_of(order)
    ]


def test_an_order_of_which_only_the_ends_are_known_is_placed_until_it_is_completed() -> None:
    assert minutes(a_past_order()) == [
        ("PLACE", 0, 0),
        ("ASSIGN", None, 30),
        ("PICK_UP", None, 30),
        ("END", 30, 30),
    ]


def test_a_step_without_a_time_is_recorded_with_the_next_one_that_has_one() -> None:
    known = a_past_order(picked_up_ms=NOW_MS + 12 * MINUTE_MS, arrived_ms=NOW_MS + 25 * MINUTE_MS)
    assert minutes(known) == [
        ("PLACE", 0, 0),
        ("ASSIGN", None, 12),
        ("PICK_UP", 12, 12),
        ("ARRIVE", 25, 25),
        ("END", 30, 30),
    ]
    assert minutes(a_past_order(arrived_ms=NOW_MS + 25 * MINUTE_MS))[1:4] == [
        ("ASSIGN", None, 25),
        ("PICK_UP", None, 25),
        ("ARRIVE", 25, 25),
    ]


def test_a_cancelled_order_has_only_the_steps_that_the_history_has() -> None:
    cancelled = a_past_order(is_completed=False)
    assert minutes(cancelled) == [("PLACE", 0, 0), ("END", 30, 30)]
    assert not has_assignment(cancelled)
    assigned = cancelled._replace(assigned_ms=NOW_MS + MINUTE_MS)
    assert minutes(assigned) == [("PLACE", 0, 0), ("ASSIGN", 1, 1), ("END", 30, 30)]
    assert has_assignment(assigned)


def test_a_stage_that_is_earlier_than_the_one_before_it_keeps_its_time_and_its_place() -> None:
    crossed = a_past_order(assigned_ms=NOW_MS + 20 * MINUTE_MS, picked_up_ms=NOW_MS + 12 * MINUTE_MS)
    assert minutes(crossed) == [("PLACE", 0, 0), ("ASSIGN", 20, 20), ("PICK_UP", 12, 20), ("END", 30, 30)]
    batch = HistoryBatch({}, {})
    decide_history([command_of(crossed, step) for step in steps_of(crossed)], batch, {})
    flags = [each.event.out_of_order for each in batch.events if hasattr(each.event, "out_of_order")]
    assert flags == [False, True, False]


times = st.none() | st.integers(-5, 40).map(lambda minute: NOW_MS + minute * MINUTE_MS)


@given(times, times, times, st.booleans(), st.none() | st.just("anna"))
@settings(max_examples=50)
def test_every_history_is_a_life_that_the_aggregates_accept(
    assigned: int | None, picked_up: int | None, arrived: int | None, is_completed: bool, rider: str | None
) -> None:
    order = a_past_order(
        assigned_ms=assigned,
        picked_up_ms=picked_up,
        arrived_ms=arrived,
        is_completed=is_completed,
        rider_id=rider,
        ended_ms=NOW_MS + 40 * MINUTE_MS,
    )
    check_past_order(order)
    check_commands(order)
    steps = steps_of(order)
    assert all(before.recorded_ms <= after.recorded_ms for before, after in pairwise(steps))
    # A repeat of all of it, as a resumed import sends it, records nothing.
    commands = [command_of(order, step) for step in steps]
    batch = HistoryBatch({}, {})
    decide_history([*commands, *commands], batch, {})
    assert [(each.is_new, each.rejection) for each in batch.outcomes] == [(True, None)] * len(steps) + [
        (False, None)
    ] * len(steps)
    found = batch.deliveries["order-1"].snapshot(1)
    assert found.status == ("completed" if is_completed else "cancelled")
    stated = (found.placed_at_ms, found.completed_at_ms if is_completed else found.cancelled_at_ms)
    assert stated == (NOW_MS, order.ended_ms)
    for stated_ms, recorded_ms in (
        (assigned, found.assigned_at_ms),
        (picked_up, found.picked_up_at_ms),
        (arrived, found.arrived_at_ms),
    ):
        assert stated_ms is None or stated_ms == recorded_ms
    assert all(not each.legs for each in batch.riders.values()), "no leg stays open"


def test_what_the_history_states_and_what_only_the_life_needs_have_different_sources() -> None:
    order = a_past_order(picked_up_ms=NOW_MS + MINUTE_MS)
    assert [command_of(order, step).source for step in steps_of(order)] == [IMPORTED, UNTIMED, IMPORTED, IMPORTED]


def test_each_order_without_a_rider_has_a_rider_of_its_own() -> None:
    assert rider_of_order(a_past_order("7")) == "unknown:7"
    assert rider_of_order(a_past_order(rider_id="anna")) == "anna"
    assert rider_of_order(a_past_order("7", rider_id="anna"), known=False) == "unknown:7"
    long = a_past_order("ä" * 128)
    assert check_rider_id(rider_of_order(long)) != rider_of_order(a_past_order("ö" * 128))
    (command,) = (command_of(long, step) for step in steps_of(long) if step.stage is PastStage.ASSIGN)
    assert isinstance(command, Assign)
    command.check()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ended_ms": NOW_MS - 1}, "completed is before placed"),
        ({"ended_ms": NOW_MS - 1, "is_completed": False}, "cancelled is before placed"),
        ({"picked_up_ms": NOW_MS + 30 * MINUTE_MS + 1}, "picked_up is after completed"),
        ({"assigned_ms": NOW_MS + 31 * MINUTE_MS}, "assigned is after completed"),
        ({"ended_ms": NOW_MS + 367 * 86_400_000}, "more than 366 days after placed"),
    ],
)
def test_times_that_no_order_can_have_are_rejected(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(StepsContradict, match=message):
        check_past_order(a_past_order(**fields))


def test_an_order_is_checked_by_the_rules_of_its_commands() -> None:
    for fields, error in (
        ({"promised_seconds": -1}, OutOfRange),
        ({"items": 10_000_000}, OutOfRange),
        ({"time_zone": "Helsinki"}, InvalidTimeZone),
        ({"picked_up_ms": 5}, TimestampTooOld),
    ):
        with pytest.raises(error):
            check_commands(a_past_order(**fields))
