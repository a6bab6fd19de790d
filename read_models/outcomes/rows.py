"""Computes which rows of outcomes an order's event changes, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from domain.features.outcomes.fold import OrderOutcome
from domain.features.outcomes.sums import HOUR_MS, OutcomeSums
from read_models.rows import RowChange

SUMS = OutcomeSums._fields


def changes(_key: str, state: OrderOutcome) -> Sequence[RowChange]:
    """The changes that the last event of an order makes, by row; of a rider only if the order had one."""
    found: list[RowChange] = []
    for change in state.changes:
        hour, sums = datetime.fromtimestamp(change.hour * HOUR_MS // 1_000, UTC), tuple(change.sums)
        found.append(RowChange("outcome_hours", (hour,), sums))
        found.append(RowChange("outcome_places", (change.place, hour), sums))
        if change.rider_id is not None:
            found.append(RowChange("outcome_riders", (change.rider_id, hour), sums))
    return found
