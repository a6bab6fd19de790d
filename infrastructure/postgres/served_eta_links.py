"""Finds served ETAs by what they depend on: an order, or positions of the log. Each query is bounded by an index."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import Engine, TextClause, text

from infrastructure.postgres.errors import unavailable_as_port_error
from read_models.generations import BY_INDEX

MAX_LINKED_ETAS: Final = 50
"""Answers that one event is shown with (invariant 15). An order may be asked for many times between two pings."""

_COLUMNS: Final = (
    "id, order_id, order_position, rider_id, rider_position, city_snapshot, model_digest, at_ms, verdict, body"
)
# After a restore from a dump of another log its positions would name events of this one (invariant 14).
_OF_THIS_LOG: Final = "log_id = (SELECT log_id FROM log_head)"
_ONE = text(f"SELECT {_COLUMNS} FROM served_etas WHERE id = :id AND {_OF_THIS_LOG}")  # noqa: S608
_OF_ORDER = text(
    f"SELECT {_COLUMNS} FROM served_etas"  # noqa: S608
    " WHERE order_id = :order_id AND (order_position, id) > (:position, :id)"
    f" AND {_OF_THIS_LOG} ORDER BY order_position, id LIMIT :limit"
)
_BEFORE = text(
    f"SELECT {_COLUMNS} FROM served_etas"  # noqa: S608
    " WHERE order_id = :order_id AND (order_position, id) < (:position, :id)"
    f" AND {_OF_THIS_LOG} ORDER BY order_position DESC, id DESC LIMIT 1"
)
_BY_ORDER_EVENT = text(
    f"SELECT {_COLUMNS} FROM served_etas"  # noqa: S608
    " WHERE order_id = :key AND order_position >= :first AND order_position < :end"
    f" AND {_OF_THIS_LOG} ORDER BY order_position, id LIMIT :limit"
)
_BY_RIDER_EVENT = text(
    f"SELECT {_COLUMNS} FROM served_etas"  # noqa: S608
    " WHERE rider_id = :key AND rider_position >= :first AND rider_position < :end"
    f" AND {_OF_THIS_LOG} ORDER BY rider_position, id LIMIT :limit"
)


class EtaOnRecord(NamedTuple):
    """A served ETA with what it was read from; ``body`` has the bytes that were sent. ``at_ms``: epoch milliseconds."""

    id: int
    order_id: str
    order_position: int
    rider_id: str | None
    rider_position: int | None
    city_snapshot: int | None
    model_digest: str
    at_ms: int
    verdict: str | None
    body: bytes


class EtaPlaceInOrder(NamedTuple):
    """Where an answer is among those of its order: by the position of the order's last event, then as recorded."""

    order_position: int
    id: int


FIRST: Final = EtaPlaceInOrder(-1, 0)
"""Before all answers of an order."""


class ServedEtaLinks:
    """Blocks; safe to share between threads. Every method raises PortUnavailable.

    Ids are ones that Postgres can take: without NUL and lone surrogates.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def one(self, eta_id: int) -> EtaOnRecord | None:
        """The answer with this id; None if it is not on record any more, or is of another log."""
        found = self._read(_ONE, id=eta_id) if 0 <= eta_id < 1 << 63 else []
        return found[0] if found else None

    def of_order(self, order_id: str, after: EtaPlaceInOrder, limit: int) -> list[EtaOnRecord]:
        """The answers of an order after ``after``, along its life."""
        place = {"position": after.order_position, "id": after.id}
        return self._read(_OF_ORDER, order_id=order_id, **place, limit=limit)

    def before(self, eta: EtaOnRecord) -> EtaOnRecord | None:
        """The answer of the same order before this one."""
        found = self._read(_BEFORE, order_id=eta.order_id, position=eta.order_position, id=eta.id)
        return found[0] if found else None

    def by_order_event(self, order_id: str, first: int, end: int) -> list[EtaOnRecord]:
        """Answers of an order whose last event was at ``first`` or later, before ``end``.

        At most MAX_LINKED_ETAS and one more, which says that there are others.
        """
        return self._read(_BY_ORDER_EVENT, key=order_id, first=first, end=end, limit=MAX_LINKED_ETAS + 1)

    def by_rider_event(self, rider_id: str, first: int, end: int) -> list[EtaOnRecord]:
        """The same by the last event of the order's rider."""
        return self._read(_BY_RIDER_EVENT, key=rider_id, first=first, end=end, limit=MAX_LINKED_ETAS + 1)

    def _read(self, query: TextClause, **values: Any) -> list[EtaOnRecord]:
        with unavailable_as_port_error(), self._engine.connect() as connection:
            connection.execute(BY_INDEX)
            return [_on_record(row) for row in connection.execute(query, values)]


def _on_record(row: Any) -> EtaOnRecord:
    *values, body = row
    return EtaOnRecord._make((*values, bytes(body)))
