"""Reads payouts and statements from their table; all queries of one read see the same state of the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Select

from projections.core.state_codec import read_state
from projections.payouts import PAYOUTS
from read_models.generations import BY_INDEX
from read_models.payouts import queries
from read_models.payouts.queries import PayoutFilters
from read_models.payouts.statement import EntryRow, StatementRead, payout_answer

MAX_STATEMENT_ENTRIES = 50_000
"""Bounds one statement (invariant 15): a rider's week has a few hundred entries."""


class StatementTooLong(Exception):
    """A statement has more entries than one answer may have."""


class PayoutReads:
    """Blocks: call it in a thread. Safe in several threads. Every method raises SQLAlchemyError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(self, filters: PayoutFilters, after: tuple[datetime, str] | None, limit: int) -> list[dict[str, Any]]:
        """Payouts, each with its adjustments, by (ended_at, payout_id), from the one after ``after``."""
        if not (_is_storable(filters.rider_id) and _is_storable(filters.order_id)):
            return []
        with self._snapshot() as connection:
            connection.execute(BY_INDEX)
            found = _rows(connection, queries.payouts(filters, after, limit))
            adjustments: dict[str, list[EntryRow]] = {row["payout_id"]: [] for row in found}
            if found:
                for row in _rows(connection, queries.adjustments(list(adjustments))):
                    adjustments[row["payout_id"]].append(row)
        return [payout_answer(row, adjustments[row["payout_id"]]) for row in found]

    def statement(self, rider_id: str, period: str) -> StatementRead:
        """The entries of a rider's period. Raises StatementTooLong, BrokenState."""
        if not _is_storable(rider_id):
            return StatementRead(None, 0, None, [])
        with self._snapshot() as connection:
            place = connection.execute(queries.progress(rider_id)).one_or_none()
            rows = _rows(connection, queries.statement(rider_id, period, MAX_STATEMENT_ENTRIES + 1))
        if len(rows) > MAX_STATEMENT_ENTRIES:
            raise StatementTooLong(f"the statement has more than {MAX_STATEMENT_ENTRIES:,} entries")
        if place is None:
            return StatementRead(None, 0, None, rows)
        state = None if place.state is None else read_state(PAYOUTS, rider_id, bytes(place.state))
        return StatementRead(place.generation, place.position, state, rows)

    def made_at(self, rider_id: str, positions: Sequence[int]) -> list[EntryRow]:
        """The entries that these events of a rider's stream made. A projection that is behind has not made them yet."""
        if not positions or not _is_storable(rider_id):
            return []
        return self._by_index(queries.made_at(rider_id, positions))

    def entries(self, entry_ids: Sequence[str]) -> list[EntryRow]:
        """These entries, and the adjustments of those that are payouts."""
        if not entry_ids or not all(map(_is_storable, entry_ids)):
            return []
        return self._by_index(queries.entries(entry_ids))

    def _by_index(self, query: Select[Any]) -> list[EntryRow]:
        with self._engine.connect() as connection:
            connection.execute(BY_INDEX)
            return _rows(connection, query)

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        with self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            yield connection


def _rows(connection: Connection, query: Select[Any]) -> list[EntryRow]:
    return [row._asdict() for row in connection.execute(query)]


def _is_storable(text: str | None) -> bool:
    """Whether Postgres can take the text: no NUL, no lone surrogate. No recorded id has either."""
    if text is None:
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
