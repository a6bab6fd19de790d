"""Reads deliveries from their table, and one delivery from the log while the table is behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from eventsourcing.persistence import PersistenceError
from sqlalchemy import Engine, Row, Select
from sqlalchemy.exc import SQLAlchemyError

from domain.deliveries.values import DeliverySnapshot
from domain.errors import DomainError
from infrastructure.http.delivery_answers import (
    DeliveryDetail,
    of_row,
    refusal,
    unknown_delivery,
    with_completion,
)
from infrastructure.http.errors import ApiError, unavailable
from read_models.completion.answer import completion_of
from read_models.completion.queries import legs_of
from read_models.deliveries import queries
from read_models.generations import BY_INDEX

Recorded = Callable[[str], DeliverySnapshot]
"""The delivery as the log has it. Raises UnknownDelivery."""


class DeliveryReader:
    """Blocks: call it in a thread. ``recorded`` must be safe to call in several threads."""

    def __init__(self, engine: Engine, recorded: Recorded) -> None:
        self._engine = engine
        self._recorded = recorded

    def one(self, order_id: str) -> DeliverySnapshot:
        """The delivery with every event that was committed before this call, so that a client sees its own commands.

        Raises:
            ApiError: 404, no such order was placed; 503, Postgres is unavailable.
        """
        # Postgres cannot take these, and no recorded order has them.
        if "\0" in order_id or not _is_unicode(order_id):
            raise unknown_delivery(order_id)
        (found,) = self._rows(queries.one(order_id))
        if not found.is_current:
            return self._from_log(order_id)
        if found.order_id is None:
            raise unknown_delivery(order_id)
        return of_row(found._asdict())

    def detail(self, order_id: str) -> DeliveryDetail:
        """Like ``one``, with the completion of its legs, which may be a moment behind. Raises ApiError."""
        found = self.one(order_id)
        rows = [row._asdict() for row in self._rows(legs_of(order_id))]
        return with_completion(found, completion_of(rows, found.time_zone))

    def page(self, filters: queries.Filters, after: tuple[int, str] | None, limit: int) -> list[DeliverySnapshot]:
        """Orders by (placed_at_ms, order_id), from the one after ``after``. Raises ApiError (503)."""
        rider_id = filters.rider_id
        if rider_id is not None and ("\0" in rider_id or not _is_unicode(rider_id)):
            return []
        return [of_row(row._asdict()) for row in self._rows(queries.page(filters, after, limit), by_index=True)]

    def newest(self, status: str, limit: int) -> list[DeliverySnapshot]:
        """The orders in this status that were placed last, the latest first. Raises ApiError (503)."""
        return [of_row(row._asdict()) for row in self._rows(queries.newest(status, limit), by_index=True)]

    def some(self, order_ids: Sequence[str]) -> list[DeliverySnapshot]:
        """These orders as far as they are folded, which may be a moment behind the log. Raises ApiError (503)."""
        return [of_row(row._asdict()) for row in self._rows(queries.some(order_ids), by_index=True)]

    def _from_log(self, order_id: str) -> DeliverySnapshot:
        try:
            return self._recorded(order_id)
        except DomainError as error:
            raise refusal(error) from error
        except PersistenceError as error:
            raise unavailable("event_store_unavailable", f"the event store is unavailable: {error}") from error

    def _rows(self, query: Select[Any], *, by_index: bool = False) -> list[Row[Any]]:
        try:
            with self._engine.connect() as connection:
                if by_index:
                    connection.execute(BY_INDEX)
                return list(connection.execute(query))
        except SQLAlchemyError as error:
            raise _unavailable(error) from error


def _is_unicode(text: str) -> bool:
    """Whether the text has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unavailable(error: SQLAlchemyError) -> ApiError:
    return unavailable("read_model_unavailable", f"Postgres: {str(error).splitlines()[0]}")
