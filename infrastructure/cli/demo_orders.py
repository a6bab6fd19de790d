"""The orders of a demo: their status and ETA as ridelog serves them, next to what is true."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from infrastructure.cli.output import cell
from infrastructure.client.messages import DeliveryAnswer, EtaMessage

if TYPE_CHECKING:
    from rich.table import Table

    from infrastructure.client.client import RidelogClient
    from infrastructure.simulator.foresight import TrueEnd

MAX_SHOWN_ORDERS = 10
FINISHED_SHOWN = 3
COLOURS = {"completed": "green", "cancelled": "red", "placed": "yellow"}


LEFT_BEHIND = "the demo that placed it was killed"
OPEN_STATUSES = ("placed", "assigned", "picked_up", "arrived")


def cancel_left_orders(client: RidelogClient) -> int:
    """Cancel the orders that a killed demo has left in this data directory. Returns their number.

    Else their riders would carry them, and after some such demos they would have too many legs to get another order.
    Raises UserError if the server refuses or stays unavailable.
    """
    left = [delivery for status in OPEN_STATUSES for delivery in client.deliveries(status)]
    for delivery in left:
        client.delivery_command(delivery.order_id, "cancel", {"reason": LEFT_BEHIND}, f"{delivery.order_id}/left")
    return len(left)


class DemoOrder(NamedTuple):
    """One order. ``eta`` is the newest answer, ``first`` the first one; None: there was none."""

    delivery: DeliveryAnswer
    eta: EtaMessage | None
    first: EtaMessage | None
    end: TrueEnd | None


def orders_table(rows: Sequence[DemoOrder], now_ms: int, title: str) -> Table:
    """Build a table with one row per order. Minutes and seconds until the hand-over; a dash means unknown."""
    from rich.table import Table

    table = Table(title=cell(title), title_justify="left", title_style="bold")
    table.add_column("order")
    table.add_column("status")
    table.add_column("rider")
    for name in ("ETA", "P90", "true"):
        table.add_column(name, justify="right")
    table.add_column("because")
    for row in rows:
        status = row.delivery.status
        is_over = status in {"completed", "cancelled"}
        table.add_row(
            cell(row.delivery.order_id),
            cell(status, COLOURS.get(status, "white")),
            cell(row.delivery.rider_id or "–"),
            *(("–", "–") if row.eta is None else (minutes(row.eta.p50_seconds), minutes(row.eta.p90_seconds))),
            "–" if is_over else true_left(row.end, now_ms),
            cell(outcome(row) if is_over else ", ".join(row.eta.because) if row.eta else ""),
        )
    return table


def minutes(seconds: float) -> str:
    """Minutes and seconds, as 12:05."""
    whole = abs(round(seconds))
    return f"{'-' if seconds < 0 and whole else ''}{whole // 60}:{whole % 60:02}"


def true_left(end: TrueEnd | None, now_ms: int) -> str:
    """Time until the true hand-over."""
    if end is None:
        return "–"
    left = minutes(max(0.0, (end.at_ms - now_ms) / 1_000.0))
    return left if end.is_completed else f"cancels {left}"


def outcome(row: DemoOrder) -> str:
    """How long a finished order took, and by how much the first ETA was wrong."""
    ended_ms = row.delivery.completed_at_ms or row.delivery.cancelled_at_ms
    if ended_ms is None:
        return ""
    took = f"after {minutes((ended_ms - row.delivery.placed_at_ms) / 1_000.0)}"
    if row.first is None or row.end is None or not row.end.is_completed:
        return took
    error_s = row.first.p50_seconds - (row.end.at_ms - row.first.at_ms) / 1_000.0
    return f"{took}; the first ETA was {minutes(abs(error_s))} too {'late' if error_s >= 0 else 'early'}"


class OrderBoard:
    """Reads the orders that a demo shows: the oldest open ones, and those that have just ended."""

    def __init__(self, reader: RidelogClient, ends: Mapping[str, TrueEnd]) -> None:
        self._reader = reader
        self._ends = ends
        self._first: dict[str, EtaMessage] = {}
        self._shown: dict[str, DemoOrder] = {}
        self._finished: deque[DemoOrder] = deque(maxlen=FINISHED_SHOWN)
        self.etas = 0
        """Number of ETAs that were read."""

    def read(self, open_orders: Iterable[str]) -> list[DemoOrder]:
        """Read the orders. Raises UserError if the server refuses or stays unavailable."""
        wanted = list(open_orders)
        rows = {order_id: row for order_id in wanted[:MAX_SHOWN_ORDERS] if (row := self._read(order_id)) is not None}
        for order_id in sorted(self._shown.keys() - set(wanted)):
            row = self._read(order_id)
            if row is not None:
                self._finished.append(row)
        self._shown = rows
        return [*rows.values(), *self._finished]

    def _read(self, order_id: str) -> DemoOrder | None:
        delivery = self._reader.delivery(order_id)
        if delivery is None:
            return None
        eta = self._reader.eta(order_id)
        if eta is not None:
            self.etas += 1
            self._first.setdefault(order_id, eta)
        return DemoOrder(delivery, eta, self._first.get(order_id), self._ends.get(order_id))
