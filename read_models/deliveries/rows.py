"""Computes the row of an order from its state."""

from __future__ import annotations

from collections.abc import Sequence

from domain.features.delivery_row import NOT_PLACED, DeliveryRow
from read_models.rows import RowChange

COLUMNS = DeliveryRow._fields


def changes(key: str, state: DeliveryRow) -> Sequence[RowChange]:
    """The whole row of the order ``key``, which every event of it replaces; no row before it is placed."""
    return () if state.status == NOT_PLACED else (RowChange("deliveries", (key,), (), tuple(state)),)
