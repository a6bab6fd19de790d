"""Orders as of a past instant: which were open, and their stages, by the fold that serves. Blocks; safe to share."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, Row, text

from domain.deliveries.values import DeliveryStatus
from domain.events.contracts import UndecodableError
from domain.features.delivery_row import EMPTY, DeliveryRow, fold
from domain.features.event_time import MAX_AHEAD_MS, effective_time_ms
from domain.features.keyed_event import KeyedEvent
from domain.identifiers import aggregate_id
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.postgres.errors import unavailable_as_port_error
from projections.core.fold import Decode
from projections.replay.as_of import AsOf, Horizon
from projections.replay.key_replay import TooLong
from read_models.deliveries import queries
from read_models.generations import BY_INDEX

log = logging.getLogger("ridelog.replay")

MAX_ORDERS: Final = 2_000
MAX_OPEN: Final = timedelta(hours=3)
"""An order that was placed earlier is not on the map."""
MAX_ORDER_EVENTS: Final = 100
"""An order with more events by then, a life of very many reassignments, is left out (invariant 15)."""
MAX_QUERY_ORDERS: Final = 500

_OVER: Final = frozenset({DeliveryStatus.COMPLETED.value, DeliveryStatus.CANCELLED.value})
_EVENTS = text(
    "SELECT u.ord, e.* FROM unnest(CAST(:aggregates AS uuid[])) WITH ORDINALITY AS u(id, ord) CROSS JOIN LATERAL"
    " (SELECT version, position, event_type, payload FROM events WHERE aggregate_id = u.id AND position <= :position"
    "  ORDER BY version LIMIT :limit) e ORDER BY u.ord, e.version"
)


class OrderThen(NamedTuple):
    """An open order as of a horizon; ``row`` is the state of the fold of its events that count."""

    order_id: str
    row: DeliveryRow


class OrdersThenFound(NamedTuple):
    """The open orders at ``horizon``, the newest first.

    ``more``: others may have been open too, beyond MAX_ORDERS or with more than MAX_ORDER_EVENTS events.
    """

    horizon: Horizon
    orders: list[OrderThen]
    more: bool


class OrderThenFound(NamedTuple):
    """An order as of ``horizon``, also one that was over. ``row`` None: its placing does not count as of then."""

    horizon: Horizon
    row: DeliveryRow | None


class OrdersThen:
    """Folds the events of orders that the read model of deliveries knows, which a lag of that projection delays."""

    def __init__(self, engine: Engine, decode: Decode) -> None:
        self._engine = engine
        self._archive = PostgresArchive(engine)
        self._decode = decode

    def at(self, as_of: AsOf) -> OrdersThenFound:
        """The orders that were placed and not over. Raises Unresolvable, PortUnavailable."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            horizon = self._archive.horizon_on(connection, as_of)
            span = horizon.at_ms - MAX_OPEN // timedelta(milliseconds=1), horizon.at_ms + MAX_AHEAD_MS + 1
            connection.execute(BY_INDEX)
            names = list(connection.execute(queries.placed_between(*span, MAX_ORDERS + 1)).scalars())
            found: list[OrderThen] = []
            is_cut = len(names) > MAX_ORDERS
            for first in range(0, min(len(names), MAX_ORDERS), MAX_QUERY_ORDERS):
                part = names[first : min(first + MAX_QUERY_ORDERS, MAX_ORDERS)]
                for name, rows in self._events(connection, part, horizon):
                    if len(rows) > MAX_ORDER_EVENTS:
                        is_cut = True
                        continue
                    state = self._state(name, rows, horizon.happened_by_ms)
                    if _is_open(state):
                        found.append(OrderThen(name, state))
        return OrdersThenFound(horizon, found, is_cut)

    def one(self, order_id: str, as_of: AsOf) -> OrderThenFound:
        """The order by the same fold, from its events alone: no lag delays it, and it may be older than MAX_OPEN.

        Raises TooLong for more than MAX_ORDER_EVENTS events, Unresolvable, PortUnavailable.
        """
        with unavailable_as_port_error(), self._engine.connect() as connection:
            horizon = self._archive.horizon_on(connection, as_of)
            rows = [row for _, found in self._events(connection, [order_id], horizon) for row in found]
        if len(rows) > MAX_ORDER_EVENTS:
            raise TooLong(f"the order has more than {MAX_ORDER_EVENTS} events by then")
        state = self._state(order_id, rows, horizon.happened_by_ms)
        return OrderThenFound(horizon, state if _is_placed(state) else None)

    @staticmethod
    def _events(connection: Connection, names: Sequence[str], horizon: Horizon) -> Iterator[tuple[str, list[Row[Any]]]]:
        aggregates = [str(aggregate_id(queries.STREAM, name)) for name in names]
        values = {"aggregates": aggregates, "position": horizon.position, "limit": MAX_ORDER_EVENTS + 1}
        by_order: dict[int, list[Row[Any]]] = defaultdict(list)
        for row in connection.execute(_EVENTS, values):
            by_order[row[0]].append(row)
        for number, rows in sorted(by_order.items()):
            yield names[number - 1], rows

    def _state(self, name: str, rows: Sequence[Row[Any]], happened_by_ms: int | None) -> DeliveryRow:
        state = EMPTY
        for row in rows:
            try:
                data = self._decode(bytes(row.payload))
            except UndecodableError as error:
                # Invariant 10: one bad event takes no other order off the map.
                log.warning("the event at position %d of order %r does not count: %s", row.position, name, error)
                continue
            if happened_by_ms is None or effective_time_ms(data) <= happened_by_ms:
                state = fold(state, KeyedEvent(name, row.version, row.position, row.event_type, data))
        return state


def _is_placed(row: DeliveryRow) -> bool:
    # Without its first event it has no place: by event time, a step may have happened before the placing.
    return row.placed_at_ms > 0


def _is_open(row: DeliveryRow) -> bool:
    return _is_placed(row) and row.status not in _OVER
