"""The demo shows an order's ETA next to what is true, and at its end by how much the first ETA was wrong."""

from __future__ import annotations

import pytest
from rich.console import Console

from infrastructure.cli.demo_orders import DemoOrder, minutes, orders_table, outcome, true_left
from infrastructure.client.messages import DeliveryAnswer, EtaMessage
from infrastructure.simulator.foresight import TrueEnd

NOW_MS = 1_700_000_000_000


def delivery(status: str, completed_at_ms: int | None = None) -> DeliveryAnswer:
    return DeliveryAnswer(
        order_id="order-1",
        status=status,
        rider_id=None if status == "placed" else "anna",
        placed_at_ms=NOW_MS - 300_000,
        completed_at_ms=completed_at_ms,
        cancelled_at_ms=None,
        position=9,
    )


def eta(seconds: float, at_ms: int = NOW_MS, because: tuple[str, ...] = ()) -> EtaMessage:
    return EtaMessage(order_id="order-1", p50_seconds=seconds, p90_seconds=2 * seconds, because=[*because], at_ms=at_ms)


def shown(row: DemoOrder) -> str:
    console = Console(width=110)
    with console.capture() as text:
        console.print(orders_table([row], NOW_MS, "orders"))
    return text.get()


def test_an_open_order_shows_eta_and_truth_counting_down() -> None:
    end = TrueEnd(NOW_MS + 605_000, is_completed=True)
    row = DemoOrder(delivery("assigned"), eta(580.0, because=("stacked",)), eta(600.0), end)
    text = shown(row)
    for part in ("order-1", "assigned", "anna", "9:40", "19:20", "10:05", "stacked"):
        assert part in text


def test_an_order_that_will_be_cancelled_says_so() -> None:
    assert true_left(TrueEnd(NOW_MS + 61_000, is_completed=False), NOW_MS) == "cancels 1:01"
    assert true_left(TrueEnd(NOW_MS - 5_000, is_completed=True), NOW_MS) == "0:00"
    assert true_left(None, NOW_MS) == "–"


@pytest.mark.parametrize(("said_s", "words"), [(700.0, "1:40 too late"), (500.0, "1:40 too early")])
def test_a_finished_order_shows_by_how_much_the_first_eta_was_wrong(said_s: float, words: str) -> None:
    first = eta(said_s, at_ms=NOW_MS - 600_000)
    row = DemoOrder(delivery("completed", NOW_MS + 3_000), None, first, TrueEnd(NOW_MS, is_completed=True))
    assert outcome(row) == f"after 5:03; the first ETA was {words}"
    assert words in shown(row)


def test_a_finished_order_without_an_eta_shows_how_long_it_took() -> None:
    row = DemoOrder(delivery("completed", NOW_MS), None, None, None)
    assert outcome(row) == "after 5:00"


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0:00"), (59.6, "1:00"), (725.0, "12:05"), (-61.0, "-1:01")])
def test_minutes(seconds: float, text: str) -> None:
    assert minutes(seconds) == text
