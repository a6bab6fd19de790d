"""What a backfill of orders sorts: valid rows by order, then their steps by the time of recording."""

from __future__ import annotations

from typing import NamedTuple

from domain.deliveries.past_order import PastOrder, PastStep


class OrderEntry(NamedTuple):
    """A valid row, sorted by order: the rows of one order are neighbours, the first of the files first."""

    order_id: str
    file: int
    line: int
    order: PastOrder
    cells: tuple[bytes, ...]


class StepEntry(NamedTuple):
    """One step of an order, sorted by its time of recording, then by the order's row and the order of its steps."""

    received_ms: int
    file: int
    line: int
    stage: int
    step: PastStep
    order: PastOrder
    cells: tuple[bytes, ...]
