"""Repeated orders, riders with too many orders, and the account of every row of an import of orders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

from domain.deliveries.history_batch import HistoryItem, HistoryOutcome
from domain.deliveries.past_order import PastOrder
from domain.errors import TooManyLegs, WrongStatus
from infrastructure.imports.external_sort import ExternalSorter
from infrastructure.imports.order_backfill import OpenOrders, OrderRecorder, settle_orders
from infrastructure.imports.order_columns import OrderFile, find_order_columns
from infrastructure.imports.order_entries import OrderEntry, StepEntry
from infrastructure.imports.order_report import OrderReport
from tests.unit.domain.given import NOW_MS
from tests.unit.domain.test_past_order import MINUTE_MS, a_past_order

HEADER = ("order", "restaurant", "customer", "placed", "completed")
SOURCE = OrderFile(Path("some.csv"), HEADER, find_order_columns(HEADER, {}, "some.csv"))


def entry(order: PastOrder, line: int) -> OrderEntry:
    return OrderEntry(order.order_id, 0, line, order, (b"a", b"b"))


def settled(entries: Sequence[OrderEntry], folder: Path) -> tuple[list[StepEntry], OrderReport]:
    report = OrderReport([SOURCE])
    by_order, by_time = folder / "orders", folder / "steps"
    by_order.mkdir(parents=True)
    by_time.mkdir(parents=True)
    orders = ExternalSorter(by_order, OrderEntry, run_entries=2, fan_in=2)
    for each in entries:
        orders.add(each)
    steps = ExternalSorter(by_time, StepEntry, run_entries=3, fan_in=2)
    settle_orders(orders.in_order(), steps, report, lambda done, count: None)
    return list(steps.in_order()), report


def test_of_the_rows_of_one_order_the_first_counts_in_every_order_of_reading(tmp_path: Path) -> None:
    later = a_past_order(placed_ms=NOW_MS - MINUTE_MS)
    rows = [entry(a_past_order(), 2), entry(later, 3), entry(a_past_order(), 4), entry(a_past_order("order-2"), 5)]
    for number, given in enumerate(permutations(rows)):
        steps, report = settled(given, tmp_path / str(number))
        assert {(step.order.order_id, step.line) for step in steps} == {("order-1", 2), ("order-2", 5)}
        assert (report.tally.duplicates, dict(report.tally.rejected)) == (1, {"delivery_exists": 1})
        assert report.examples.lines == [
            "some.csv, line 3: delivery_exists: line 2 of some.csv has this order with other content"
        ]


def test_steps_are_in_the_order_of_their_recording(tmp_path: Path) -> None:
    orders = [a_past_order(f"o{n}", placed_ms=NOW_MS + n * 7 * MINUTE_MS) for n in (3, 1, 2)]
    steps, report = settled([entry(order, line) for line, order in enumerate(orders)], tmp_path)
    assert [(step.received_ms - NOW_MS) // MINUTE_MS for step in steps] == [7, 14, 21, *[30] * 9]
    # At one instant the steps of an order stay together, in their order.
    assert [step.stage for step in steps[3:]] == [1, 2, 4] * 3
    assert report.findings == {
        "without_rider": 3,
        "without_assigned": 3,
        "without_picked_up": 3,
        "without_promise": 3,
    }


def recorded(orders: Sequence[PastOrder], folder: Path, outcome: HistoryOutcome | None = None) -> OrderReport:
    """The report after a recording, in which each completion has ``outcome``."""
    steps, report = settled([entry(order, line) for line, order in enumerate(orders)], folder)

    def record(items: Sequence[HistoryItem]) -> list[HistoryOutcome]:
        ends = [getattr(item, "VERB", "") == "complete" for item in items]
        return [outcome if outcome is not None and end else HistoryOutcome(is_new=True) for end in ends]

    OrderRecorder(record, report, None).run(steps, [], 3, lambda done, count: None)
    return report


def test_a_row_whose_last_step_is_rejected_is_no_accepted_row(tmp_path: Path) -> None:
    orders = [a_past_order("a"), a_past_order("b")]
    accepted = recorded(orders, tmp_path / "1").tally
    assert (accepted.rows, accepted.accepted, accepted.unaccounted) == (2, 2, 0)
    rejected = recorded(orders, tmp_path / "2", HistoryOutcome(is_new=False, rejection=WrongStatus("over"))).tally
    assert (rejected.rows, rejected.accepted, dict(rejected.rejected)) == (2, 0, {"wrong_status": 2})


def test_a_rider_with_too_many_orders_at_once_loses_none_of_them(tmp_path: Path) -> None:
    """The 21st order of a rider would be rejected after its placement, and stay open for ever."""
    busy = [
        a_past_order(f"o{n:02}", rider_id="depot", assigned_ms=NOW_MS + n * 1_000, ended_ms=NOW_MS + MINUTE_MS + n)
        for n in range(22)
    ]
    later = a_past_order(
        "later",
        rider_id="depot",
        placed_ms=NOW_MS + 2 * MINUTE_MS,
        assigned_ms=NOW_MS + 3 * MINUTE_MS,
    )
    riders: dict[str, str] = {}
    steps, report = settled([entry(order, line) for line, order in enumerate([*busy, later])], tmp_path)

    def record(items: Sequence[HistoryItem]) -> list[HistoryOutcome]:
        riders.update({item.order_id: item.rider_id for item in items if getattr(item, "VERB", "") == "assign"})  # type: ignore[union-attr]
        return [HistoryOutcome(is_new=True)] * len(items)

    OrderRecorder(record, report, None).run(steps, [], 5, lambda done, count: None)
    assert [order for order, rider in riders.items() if rider != "depot"] == ["o20", "o21"]
    assert riders["o20"] == "unknown:o20"
    assert report.findings["rider_overloaded"] == 2
    assert report.tally.accepted == 23


def test_an_order_that_is_cancelled_without_an_assignment_frees_no_leg() -> None:
    open_orders = OpenOrders()
    for n in range(20):
        assert open_orders.assign(a_past_order(f"o{n}", rider_id="anna"))
    open_orders.end(a_past_order("c", rider_id="anna", is_completed=False))
    assert not open_orders.assign(a_past_order("o20", rider_id="anna"))
    open_orders.end(a_past_order("o20", rider_id="anna"))
    assert not open_orders.assign(a_past_order("o21", rider_id="anna"))
    assert TooManyLegs.code == "too_many_legs"
    open_orders.end(a_past_order("o1", rider_id="anna"))
    assert open_orders.assign(a_past_order("o22", rider_id="anna"))
