"""Reads any part of the log, by key or by shard, for replays (``projections.replay.archive.Archive``).

Also resolves an instant to a position of the log. The same instant always gives the same position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, text

from domain.identifiers import aggregate_id
from domain.timestamps import epoch_ms
from infrastructure.event_store import key_walk
from infrastructure.event_store.append import MAX_CLOCK_AHEAD_MS
from infrastructure.event_store.log_head import LogHeadRow, lock_head, read_head, write_head
from infrastructure.event_store.log_reader import PostgresLog
from infrastructure.event_store.queries import LOGGED_COLUMNS, logged_events
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.single_reads import SingleReads
from infrastructure.timestamps import now_ms, storable_ms
from projections.core.ports import LoggedEvent
from projections.replay.archive import TimedEvent
from projections.replay.as_of import AsOf, Horizon, Unresolvable

_BOUNDS = text(
    "SET LOCAL lock_timeout = '5s';"
    " SET LOCAL statement_timeout = '10s';"
    " SET LOCAL idle_in_transaction_session_timeout = '10s'"
)
"""Bounds the wait for the log's lock: a writer stopped inside its transaction must not block readers of the past, and a
reader stopped while it holds the lock must not block the writers."""

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


def resolve(connection: Connection, as_of: AsOf, now_ms: Callable[[], int]) -> Horizon:
    """Resolves ``as_of`` on this log. The connection is in a transaction of its own. Raises Unresolvable."""
    if as_of.axis == "known":
        assert as_of.at_ms is not None
        head = _make_instant_final(connection, as_of.at_ms, now_ms)
        return Horizon(head.log_id, "known", _last_by(connection, head, as_of.at_ms), None, as_of.at_ms)
    head = read_head(connection)
    position = head.position if as_of.position is None else as_of.position
    if not 0 <= position <= head.position:
        raise Unresolvable("unknown_position", f"the log has the positions 1 to {head.position:,}, not {position:,}")
    if as_of.axis == "event":
        assert as_of.at_ms is not None
        return Horizon(head.log_id, "event", position, as_of.at_ms, as_of.at_ms)
    return Horizon(head.log_id, "position", position, None, _recorded_ms(connection, position))


def _make_instant_final(connection: Connection, at_ms: int, now_ms: Callable[[], int]) -> LogHeadRow:
    """Make sure that no further event is recorded with a time up to ``at_ms``. Returns the head after that.

    If the last event was recorded before the instant, takes the log's lock once, after the current writer, and moves
    the head's clock past the instant. Then even a writer whose clock stepped back records later, and the answer for
    this instant never changes.
    """
    head = read_head(connection)
    if head.recorded_at_ms > at_ms:
        return head
    # The database's clock bounds it too: a reader whose clock is a day ahead must not move the log's clock by a day.
    if at_ms >= min(now_ms(), head.database_ms + MAX_CLOCK_AHEAD_MS):
        raise Unresolvable("instant_in_future", "that instant has not passed: what is known then can still change")
    connection.execute(_BOUNDS)
    head = lock_head(connection)
    if head.recorded_at_ms <= at_ms:
        head.recorded_at_ms = at_ms + 1
        write_head(connection, head)
    return head


def _last_by(connection: Connection, head: LogHeadRow, at_ms: int) -> int:
    first = connection.execute(_FIRST).scalar_one()
    # None: the log is empty, or all of it was detached.
    first = head.position + 1 if first is None else first
    values = {"before": first - 1, "head": head.position, "ms": storable_ms(at_ms)}
    found = connection.execute(_LAST_POSITION_BY, values).scalar_one()
    if found < first and first > 1:
        raise Unresolvable(
            "log_begins_later",
            f"what was known then is in a part of the log that was detached: the log begins at position {first:,}",
        )
    return int(found)


def _recorded_ms(connection: Connection, position: int) -> int:
    if position == 0:
        return 0
    recorded_at = connection.execute(_RECORDED_AT, {"position": position}).scalar_one_or_none()
    if recorded_at is None:
        raise Unresolvable("log_begins_later", f"the part of the log with position {position:,} was detached")
    return epoch_ms(recorded_at)


_SENT_BY = "event_time <= timestamptz 'epoch' + %s * interval '1 millisecond'"
LAST = "SELECT version, position FROM events WHERE aggregate_id = :aggregate ORDER BY version DESC LIMIT 1"
_LAST = text(LAST)
# Position grows with version, so a binary search is enough; a filter would read every later event. A version that is
# not there was detached, and is therefore before the position.
LAST_VERSION_BY = (
    "WITH RECURSIVE s(lo, hi) AS ("
    "  SELECT CAST(0 AS bigint), CAST(:version AS bigint)"
    "  UNION ALL"
    "  SELECT CASE WHEN e.within THEN m.mid ELSE s.lo END, CASE WHEN e.within THEN s.hi ELSE m.mid - 1 END"
    "  FROM s CROSS JOIN LATERAL (SELECT (s.lo + s.hi + 1) / 2 AS mid) m"
    "  CROSS JOIN LATERAL (SELECT coalesce((SELECT position <= :position FROM events"
    "   WHERE aggregate_id = :aggregate AND version = m.mid), true) AS within) e"
    "  WHERE s.lo < s.hi"
    ") SELECT lo FROM s WHERE lo = hi"
)
_LAST_VERSION_BY = text(LAST_VERSION_BY)
_KEY = "FROM events WHERE aggregate_id = %s AND version > %s AND version <= %s"
_SHARD = "FROM events WHERE stream = %s AND shard = %s AND seq > %s AND seq <= %s"


class PostgresArchive(PostgresLog):
    """The log as an archive. Every method raises PortUnavailable if Postgres is unavailable."""

    def __init__(self, engine: Engine, now_ms: Callable[[], int] = now_ms, reads: SingleReads | None = None) -> None:
        super().__init__(engine)
        self._now_ms = now_ms
        self._single_reads = SingleReads(engine) if reads is None else reads

    def horizon(self, as_of: AsOf) -> Horizon:
        with unavailable_as_port_error(), self._engine.begin() as connection:
            return resolve(connection, as_of, self._now_ms)

    def horizon_on(self, connection: Connection, as_of: AsOf) -> Horizon:
        """``horizon``, where it can be read on the connection of the reads that follow.

        An instant of the axis known is made final in a transaction of its own, which holds the log's lock.
        """
        return self.horizon(as_of) if as_of.axis == "known" else resolve(connection, as_of, self._now_ms)

    def last_version(self, stream: str, key: str, position: int) -> int:
        values = {"aggregate": aggregate_id(stream, key), "position": position}
        with unavailable_as_port_error(), self._single_reads.connect() as connection:
            last = connection.execute(_LAST, values).one_or_none()
            if last is None or last.position <= position:
                return 0 if last is None else int(last.version)
            return int(connection.execute(_LAST_VERSION_BY, {**values, "version": last.version}).scalar_one())

    def key_range(
        self, stream: str, key: str, after_version: int, upto_version: int, sent_by_ms: int | None
    ) -> list[LoggedEvent]:
        values = (str(aggregate_id(stream, key)), after_version, upto_version)
        return self._events(_KEY, values, sent_by_ms, "version")

    def shard_range(
        self, stream: str, shard: int, after_seq: int, upto_seq: int, sent_by_ms: int | None
    ) -> list[LoggedEvent]:
        return self._events(_SHARD, (stream, shard, after_seq, upto_seq), sent_by_ms, "seq")

    def walk(
        self, stream: str, keys: Sequence[str] | None, shard: int, position: int, *, by_event_time: bool
    ) -> Iterator[TimedEvent]:
        return key_walk.walk(self._engine, stream, keys, shard, position, by_event_time=by_event_time)

    def _events(self, selection: str, values: tuple[Any, ...], sent_by_ms: int | None, order: str) -> list[LoggedEvent]:
        if sent_by_ms is not None:
            # OFFSET 0 makes the planner select by version first. With outdated statistics it may prefer the index by
            # event time, and then reads all earlier events of the key.
            selection = f"FROM (SELECT {LOGGED_COLUMNS}, event_time {selection} OFFSET 0) s WHERE {_SENT_BY}"
            values = (*values, storable_ms(sent_by_ms))
        with unavailable_as_port_error(), self._single_reads.connect() as connection:
            return _logged(connection, f"SELECT {LOGGED_COLUMNS} {selection} ORDER BY {order}", values)


def _logged(connection: Connection, statement: str, values: tuple[Any, ...]) -> list[LoggedEvent]:
    # The driver's own rows: a replay reads millions, and SQLAlchemy's rows cost a third of the time.
    rows = connection.exec_driver_sql(statement, values).cursor.fetchall()
    return logged_events(rows)
