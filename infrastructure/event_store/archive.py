"""Any part of the log, by key or by shard, for replays (``projections.replay.archive.Archive``)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, text

from domain.identifiers import aggregate_id
from infrastructure.event_store import key_walk
from infrastructure.event_store.errors import unavailable_as_port_error
from infrastructure.event_store.instants import resolve, storable_ms
from infrastructure.event_store.log import PostgresLog
from projections.ports import LoggedEvent
from projections.replay.archive import TimedEvent
from projections.replay.as_of import AsOf, Horizon

_COLUMNS = "position, shard, seq, aggregate_key, version, event_type, payload"
_SENT_BY = "event_time <= timestamptz 'epoch' + %s * interval '1 millisecond'"
_LAST = text("SELECT version, position FROM events WHERE aggregate_id = :aggregate ORDER BY version DESC LIMIT 1")
# Position grows with version: a binary search, where a filter would read all that came later. What is not there was
# detached, and so lies before.
_LAST_VERSION_BY = text(
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
_KEY = "FROM events WHERE aggregate_id = %s AND version > %s AND version <= %s"
_SHARD = "FROM events WHERE stream = %s AND shard = %s AND seq > %s AND seq <= %s"


class PostgresArchive(PostgresLog):
    """Raises PortUnavailable."""

    def __init__(self, engine: Engine, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        super().__init__(engine)
        self._now_ms = now_ms

    def horizon(self, as_of: AsOf) -> Horizon:
        with unavailable_as_port_error(), self._engine.begin() as connection:
            return resolve(connection, as_of, self._now_ms)

    def last_version(self, stream: str, key: str, position: int) -> int:
        values = {"aggregate": aggregate_id(stream, key), "position": position}
        with unavailable_as_port_error(), self._engine.connect() as connection:
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

    def _events(self, stretch: str, values: tuple[Any, ...], sent_by_ms: int | None, order: str) -> list[LoggedEvent]:
        if sent_by_ms is not None:
            # OFFSET 0: by version first. Statistics that are out of date may promise less by event time, and then all
            # that the key had done by then is read.
            stretch = f"FROM (SELECT {_COLUMNS}, event_time {stretch} OFFSET 0) s WHERE {_SENT_BY}"
            values = (*values, storable_ms(sent_by_ms))
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return _logged(connection, f"SELECT {_COLUMNS} {stretch} ORDER BY {order}", values)


def _logged(connection: Connection, statement: str, values: tuple[Any, ...]) -> list[LoggedEvent]:
    # The driver's own rows: a replay reads millions, and SQLAlchemy's cost a third of the time.
    rows = connection.exec_driver_sql(statement, values).cursor.fetchall()
    return [LoggedEvent(p, shard, seq, key, v, kind, bytes(data)) for p, shard, seq, key, v, kind, data in rows]
