"""Instants as positions of the log, the same whenever they are asked for again."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, text

from domain.timestamps import epoch_ms
from infrastructure.event_store.append import MAX_CLOCK_AHEAD_MS
from infrastructure.event_store.head import Head, lock_head, read_head, write_head
from projections.replay.as_of import AsOf, Horizon, Unresolvable

_BOUNDS = text(
    "SET LOCAL lock_timeout = '5s';"
    " SET LOCAL statement_timeout = '10s';"
    " SET LOCAL idle_in_transaction_session_timeout = '10s'"
)
"""A writer that is stopped inside its transaction must not hold every reader of the past as well; nor must a reader
that is stopped while it has the log's lock hold the writers."""

_EARLIEST_MS, _LATEST_MS = -62_135_596_800_000, 253_402_300_799_999
"""The years 1 to 9999: what both Postgres and Python can hold."""

_FIRST = text("SELECT min(position) FROM events")
_RECORDED_AT = text("SELECT recorded_at FROM events WHERE position = :position")
# recorded_at never steps back over position (invariant 11), so a binary search finds the last event of an instant.
_LAST_POSITION_BY = text(
    "WITH RECURSIVE s(lo, hi) AS ("
    "  SELECT CAST(:before AS bigint), CAST(:head AS bigint)"
    "  UNION ALL"
    "  SELECT CASE WHEN e.known THEN m.mid ELSE s.lo END, CASE WHEN e.known THEN s.hi ELSE m.mid - 1 END"
    "  FROM s CROSS JOIN LATERAL (SELECT (s.lo + s.hi + 1) / 2 AS mid) m"
    "  CROSS JOIN LATERAL (SELECT recorded_at <="
    "   timestamptz 'epoch' + :ms * interval '1 millisecond' AS known FROM events WHERE position = m.mid) e"
    "  WHERE s.lo < s.hi"
    ") SELECT lo FROM s WHERE lo = hi"
)


def storable_ms(ms: int) -> int:
    """The instant nearest to ``ms`` that a timestamp can hold: all events lie on the same side of both."""
    return max(_EARLIEST_MS, min(ms, _LATEST_MS))


def resolve(connection: Connection, as_of: AsOf, now_ms: Callable[[], int]) -> Horizon:
    """``as_of`` on this log. The connection is in a transaction of its own. Raises Unresolvable."""
    if as_of.axis == "known":
        assert as_of.at_ms is not None
        head = _passed(connection, as_of.at_ms, now_ms)
        return Horizon(head.log_id, "known", _last_by(connection, head, as_of.at_ms), None, as_of.at_ms)
    head = read_head(connection)
    position = head.position if as_of.position is None else as_of.position
    if not 0 <= position <= head.position:
        raise Unresolvable("unknown_position", f"the log has the positions 1 to {head.position:,}, not {position:,}")
    if as_of.axis == "event":
        assert as_of.at_ms is not None
        return Horizon(head.log_id, "event", position, as_of.at_ms, as_of.at_ms)
    return Horizon(head.log_id, "position", position, None, _recorded_ms(connection, position))


def _passed(connection: Connection, at_ms: int, now_ms: Callable[[], int]) -> Head:
    """The head, once no event can be recorded any more with a time up to ``at_ms``.

    If the last one lies before, the log's lock is passed once, behind whoever is writing, and the head's clock is moved
    past the instant: also a writer whose clock stepped back now records later, and the answer stays what it is.
    """
    head = read_head(connection)
    if head.recorded_at_ms > at_ms:
        return head
    # The database's clock bounds it too: a reader whose clock is a day ahead must not move the log's clock by a day.
    if at_ms >= min(now_ms(), head.database_ms + MAX_CLOCK_AHEAD_MS):
        raise Unresolvable("instant_in_future", "that instant has not passed: what will be known then is not known yet")
    connection.execute(_BOUNDS)
    head = lock_head(connection)
    if head.recorded_at_ms <= at_ms:
        head.recorded_at_ms = at_ms + 1
        write_head(connection, head)
    return head


def _last_by(connection: Connection, head: Head, at_ms: int) -> int:
    first = connection.execute(_FIRST).scalar_one()
    # None: the log is empty, or all of it was detached.
    first = head.position + 1 if first is None else first
    values = {"before": first - 1, "head": head.position, "ms": storable_ms(at_ms)}
    found = connection.execute(_LAST_POSITION_BY, values).scalar_one()
    if found < first and first > 1:
        raise Unresolvable(
            "log_begins_later",
            f"what was known then lies in a part of the log that was detached: it begins at position {first:,}",
        )
    return int(found)


def _recorded_ms(connection: Connection, position: int) -> int:
    if position == 0:
        return 0
    recorded_at = connection.execute(_RECORDED_AT, {"position": position}).scalar_one_or_none()
    if recorded_at is None:
        raise Unresolvable("log_begins_later", f"the part of the log with position {position:,} was detached")
    return epoch_ms(recorded_at)
