"""A rider's statement of one period: entries, each with its items, and their sum in each currency. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from domain.features.payouts.currencies import major_text, minor_digits
from domain.features.payouts.entries import PAYOUT
from domain.features.payouts.fold import NOT_CLOSED, PayoutState
from domain.features.payouts.periods import week_named
from domain.timestamps import epoch_ms
from read_models.payouts.rows import COLUMNS
from read_models.rows import RowChange

EntryRow = dict[str, Any]
"""One row of ``payout_entries``, by column."""

OPEN, CLOSED = "open", "closed"


class StatementRead(NamedTuple):
    """What a statement is made from, read at one instant or replayed from the log.

    ``position``: the place in the log up to which the rider's shard is folded. ``state`` is None for a rider without
    events.
    """

    generation: int | None
    position: int
    state: PayoutState | None
    rows: Sequence[EntryRow]


def rows_of(changes: Iterable[RowChange], period: str) -> list[EntryRow]:
    """The rows of one period as ``queries.statement`` gives them, from the changes of a replay."""
    rows = [{"entry_id": change.key[0], **dict(zip(COLUMNS, change.latest or (), strict=True))} for change in changes]
    return sorted((row for row in rows if row["period"] == period), key=lambda row: int(row["seq"]))


def statement(rider_id: str, period: str, read: StatementRead, currency: str | None = None) -> dict[str, Any]:
    """The document of ``GET /riders/{rider_id}/statement``. With ``currency`` it has only and always that one."""
    found = {row["currency"] for row in read.rows} if currency is None else {currency}
    return {
        "rider_id": rider_id,
        "period": period,
        "generation": read.generation,
        "position": read.position,
        "currencies": [_of_currency(each, period, read) for each in sorted(found)],
    }


def _of_currency(currency: str, period: str, read: StatementRead) -> dict[str, Any]:
    rows = [row for row in read.rows if row["currency"] == currency]
    total = sum(row["amount_minor"] for row in rows)
    closed = dict(read.state.closed) if read.state is not None else {}
    return {
        "currency": currency,
        "status": CLOSED if closed.get(currency, NOT_CLOSED) >= week_named(period) else OPEN,
        "minor_digits": minor_digits(currency),
        "total_minor": total,
        "total": major_text(total, currency),
        "payouts": sum(row["kind"] == PAYOUT for row in rows),
        "adjustments": sum(row["kind"] != PAYOUT for row in rows),
        "entries": [entry_answer(row) for row in rows],
    }


def entry_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as it is answered: the end in epoch milliseconds, the amount also as text, the items as objects."""
    ended_at: datetime = row["ended_at"]
    named = {name: row[name] for name in ("entry_id", *COLUMNS) if name not in {"items", "ended_at", "rider_id"}}
    return named | {
        "amount": major_text(row["amount_minor"], row["currency"]),
        "ended_at_ms": epoch_ms(ended_at),
        "items": json.loads(row["items"]),
    }


def payout_answer(payout: Mapping[str, Any], adjustments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A payout with its adjustments and the net amount of all of them."""
    net = payout["amount_minor"] + sum(row["amount_minor"] for row in adjustments)
    return {
        "rider_id": payout["rider_id"],
        **entry_answer(payout),
        "adjustments": [entry_answer(row) for row in adjustments],
        "net_minor": net,
        "net": major_text(net, payout["currency"]),
    }


def differences(stored: Sequence[EntryRow], recomputed: Sequence[EntryRow]) -> list[str]:
    """One line for each entry that differs between the read model and the log; none if both are the same."""
    left, right = ({row["entry_id"]: row for row in rows} for rows in (stored, recomputed))
    found: list[str] = []
    for entry_id in sorted(left.keys() | right.keys()):
        here, there = left.get(entry_id), right.get(entry_id)
        if here is None or there is None:
            what = "is only in the log" if here is None else "is only in the read model"
            found.append(f"entry {entry_id} {what}: {_amount(there if here is None else here)}")
        elif changed := [name for name in COLUMNS if here[name] != there[name]]:
            amounts = "" if "amount_minor" not in changed else f": {_amount(here)} instead of {_amount(there)}"
            found.append(f"entry {entry_id} differs in {', '.join(changed)}{amounts}")
    return found


def _amount(row: EntryRow | None) -> str:
    assert row is not None
    return f"{major_text(row['amount_minor'], row['currency'])} {row['currency']}"
