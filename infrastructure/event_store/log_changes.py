"""Reads which riders and orders have new events, without the events: what a live map asks four times a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import text
from sqlalchemy.engine import Row

from infrastructure.event_store.event_pages import MILLISECONDS_OF
from infrastructure.event_store.log_cursor import LogCursor, mark_of
from infrastructure.event_store.log_head import NEWEST_NUMBERS, LogNotInitialised
from infrastructure.event_store.log_tail import LogReplaced
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.held_connection import HeldConnection

MAX_CHANGED_EVENTS: Final = 20_000
"""Events that one read passes. A reader that is further behind reads its read models as a whole instead."""

MAX_POSITION: Final = 2**62
_MARK: Final = f"event_id::text || ' ' || {MILLISECONDS_OF.format('recorded_at')}"
# One statement has one snapshot: positions are committed in order, so each event up to its head is visible.
# The keys come as one text: a row a key costs the reader five times as much. LIMIT 1 is for the planner: a table of one
# row is never analysed, and passes for one of 1,800, so that each run would be compiled first (jit_above_cost).
_CHANGES = text(
    f"WITH head AS (SELECT h.log_id, n.position FROM log_head h CROSS JOIN LATERAL ({NEWEST_NUMBERS}) n LIMIT 1),"  # noqa: S608
    " found AS (SELECT stream, aggregate_key, count(*) AS events,"
    " max(position) FILTER (WHERE stream = 'Delivery' OR event_type = 'GpsPing') AS position FROM events"
    " WHERE position > :after AND position <= (SELECT position FROM head)"
    " AND (SELECT position FROM head) <= :after + :most GROUP BY stream, aggregate_key)"
    " SELECT log_id, position,"
    f" (SELECT {_MARK} FROM events WHERE position = :after) AS begin,"
    f" (SELECT {_MARK} FROM events WHERE position = head.position) AS upto,"
    " (SELECT sum(events) FROM found) AS events,"
    " (SELECT json_object_agg(aggregate_key, position)::text FROM found WHERE stream = 'Rider' AND position > 0)"
    " AS riders,"
    " (SELECT json_object_agg(aggregate_key, position)::text FROM found WHERE stream = 'Delivery') AS orders FROM head"
)
_POSITIONS: Final = msgspec.json.Decoder(dict[str, int])

RECENT_EVENTS: Final = 5_000
"""Events before the head with which a reader begins that reads its read models as a whole."""


class LogPlace(NamedTuple):
    """A place in one log. Another log, or a restored one, does not have it."""

    log_id: str
    cursor: LogCursor

    def before(self, events: int) -> LogPlace:
        """The place so many events earlier, or the beginning of the log."""
        return LogPlace(self.log_id, LogCursor(max(0, self.cursor.position - events)))


class ChangedKeys(NamedTuple):
    """Riders with a new ping and orders with a new event, with the position of the newest one."""

    riders: Mapping[str, int]
    orders: Mapping[str, int]


class LogChanges(NamedTuple):
    """What changed. ``keys`` None: it is not known, since events are too many or were detached. Read models have them.

    ``upto``: where the next read begins. Without ``keys`` it is before the head, because a read model that is read now
    as a whole may not have folded the newest events.
    """

    upto: LogPlace
    keys: ChangedKeys | None


class PostgresChangedLog:
    """Reads changes from the event store. Blocks; safe to share between threads."""

    def __init__(self, connection: HeldConnection, max_events: int = MAX_CHANGED_EVENTS) -> None:
        self._connection = connection
        self._max_events = max_events

    def after(self, place: LogPlace | None) -> LogChanges:
        """The changes after ``place`` up to the head of the log; None: where a first read begins.

        Raises:
            LogReplaced: the log is another one than that of ``place``, or was restored to an older state.
            PortUnavailable, SinkRejected: Postgres cannot be read.
        """
        # A position that is beyond every head: the range is empty.
        after = MAX_POSITION if place is None else place.cursor.position
        with unavailable_as_port_error():
            row = self._connection.one_or_none(_CHANGES, {"after": after, "most": self._max_events})
        if row is None:
            raise LogNotInitialised("table log_head or log_numbers is empty: run `python app.py migrate`")
        upto = LogPlace(str(row.log_id), _cursor(row.position, row.upto))
        if place is None:
            return LogChanges(upto.before(RECENT_EVENTS), None)
        _check_same_log(place, upto, row)
        if upto.cursor.position - after > self._max_events:
            return LogChanges(upto.before(RECENT_EVENTS), None)
        # Fewer events than positions: a partition was detached. The same positions would lack them for ever.
        is_whole = upto.cursor.position - after == (row.events or 0)
        return LogChanges(upto, _keys(row) if is_whole else None)


def _check_same_log(place: LogPlace, upto: LogPlace, row: Row[Any]) -> None:
    """Raises LogReplaced. The event at ``place`` is compared too: a restored log may have grown past it since."""
    known, found = place.cursor, _cursor(place.cursor.position, row.begin)
    is_other_event = bool(known.mark and found.mark) and known.mark != found.mark
    if upto.log_id != place.log_id or upto.cursor.position < known.position or is_other_event:
        raise LogReplaced


def _cursor(position: int, event: str | None) -> LogCursor:
    """``event``: id and time of recording; None for position 0, and where the event was detached."""
    if event is None:
        return LogCursor(position)
    event_id, _, recorded_at_ms = event.partition(" ")
    return LogCursor(position, mark_of(event_id, int(recorded_at_ms)))


def _keys(row: Row[Any]) -> ChangedKeys:
    riders, orders = (_POSITIONS.decode(found) if found else {} for found in (row.riders, row.orders))
    return ChangedKeys(riders, orders)
