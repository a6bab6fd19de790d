"""Makes the rows of the entries that a rider's event adds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from domain.features.payouts.entries import PayoutEntry
from domain.features.payouts.fold import PayoutState
from read_models.rows import RowChange

COLUMNS = (
    "kind",
    "payout_id",
    "rider_id",
    "order_id",
    "leg",
    "outcome",
    "currency",
    "amount_minor",
    "items",
    "tariff_version",
    "ended_at",
    "period",
    "position",
    "seq",
)
"""All columns of a row after its key, ``entry_id``."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def changes(key: str, state: PayoutState) -> Sequence[RowChange]:
    """One new row an entry of the last event of the rider ``key``. No later event changes a row."""
    return [RowChange("payout_entries", (entry.entry_id,), (), _row(key, entry)) for entry in state.entries]


def _row(rider_id: str, entry: PayoutEntry) -> tuple[object, ...]:
    _, kind, payout_id, *leg, ended_ms, period, position, seq = entry
    return (kind, payout_id, rider_id, *leg, _EPOCH + timedelta(milliseconds=ended_ms), period, position, seq)
