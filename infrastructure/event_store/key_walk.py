"""Reads the events of a shard key by key, in short transactions.

A walk of a large log takes hours. One transaction would keep every dead row version of the database for as long, and
slow the writers. Events never change, so many transactions up to a fixed position see the same events as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from domain.identifiers import aggregate_id, shard_of
from infrastructure.event_store.queries import LOGGED_COLUMNS
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.timestamps import EARLIEST_MS
from projections.core.ports import LoggedEvent
from projections.replay.archive import TimedEvent

WALK_ROWS = 5_000
"""Events that a walk reads in one transaction and holds in memory."""
COUNTED_EVENTS = 50_000
"""Events that one transaction counts by key."""
COUNTED_KEYS = 500
"""Keys whose events one transaction counts."""

_COUNT_SHARD = (
    "SELECT aggregate_key, count(*), max(seq) FROM (SELECT aggregate_key, seq FROM events"
    " WHERE stream = %s AND shard = %s AND seq > %s AND position <= %s ORDER BY seq LIMIT %s) page"
    " GROUP BY aggregate_key"
)
_COUNT_KEYS = (
    "SELECT aggregate_key, count(*) FROM events WHERE aggregate_id = ANY(CAST(%s AS uuid[])) AND position <= %s"
    " GROUP BY aggregate_key"
)
_SELECT = (
    f"SELECT {LOGGED_COLUMNS},"  # noqa: S608
    " (extract(epoch FROM event_time) * 1000)::bigint, (extract(epoch FROM recorded_at) * 1000)::bigint"
    " FROM events WHERE position <= %s"
)
_OF_SHARD = f"{_SELECT} AND stream = %s AND shard = %s ORDER BY seq LIMIT %s"
_OF_KEYS = f'{_SELECT} AND aggregate_id = ANY(CAST(%s AS uuid[])) ORDER BY aggregate_key COLLATE "C", '
_BY_VERSION = f"{_SELECT} AND aggregate_id = %s AND version > %s ORDER BY version LIMIT %s"
_INSTANT = "timestamptz 'epoch' + %s * interval '1 millisecond'"
# The first condition is for the index, which does not hold the version.
_BY_EVENT_TIME = (
    f"{_SELECT} AND aggregate_id = %s AND event_time >= {_INSTANT} AND (event_time, version) > ({_INSTANT}, %s)"
    " ORDER BY event_time, version LIMIT %s"
)


_BY_KEY_AND_VERSION: Callable[[Any], Any] = itemgetter(3, 4)
_BY_KEY_AND_TIME: Callable[[Any], Any] = itemgetter(3, 7, 4)
"""Orders of the rows of ``_SELECT``. A row is sorted before it becomes an event, which costs a quarter of the time."""


def walk(
    engine: Engine, stream: str, keys: Sequence[str] | None, shard: int, position: int, *, by_event_time: bool
) -> Iterator[TimedEvent]:
    """Implements ``projections.replay.archive.Archive.walk``. Raises PortUnavailable."""
    if keys is None:
        rows = _rows(engine, _OF_SHARD, (position, stream, shard, WALK_ROWS + 1))
        if len(rows) <= WALK_ROWS:  # a small shard in one query; counting first would take 1.5 times as long
            rows.sort(key=_BY_KEY_AND_TIME if by_event_time else _BY_KEY_AND_VERSION)
            yield from map(_timed, rows)
            return
        counts = _counts_of_shard(engine, stream, shard, position)
    else:
        counts = _counts_of_keys(engine, stream, [key for key in keys if shard_of(key) == shard], position)
    group: list[str] = []
    grouped = 0
    for key in sorted(counts):  # by code point, which is the server's order of "C" in UTF-8
        if group and grouped + counts[key] > WALK_ROWS:
            yield from _of_keys(engine, stream, group, position, by_event_time=by_event_time)
            group, grouped = [], 0
        if counts[key] > WALK_ROWS:
            yield from _of_large_key(engine, stream, key, position, by_event_time=by_event_time)
            continue
        group.append(key)
        grouped += counts[key]
    if group:
        yield from _of_keys(engine, stream, group, position, by_event_time=by_event_time)


def _counts_of_shard(engine: Engine, stream: str, shard: int, position: int) -> dict[str, int]:
    counts: dict[str, int] = {}
    after, counted = 0, COUNTED_EVENTS
    while counted == COUNTED_EVENTS:
        page = _rows(engine, _COUNT_SHARD, (stream, shard, after, position, COUNTED_EVENTS))
        for key, count, _ in page:
            counts[key] = counts.get(key, 0) + count
        counted = sum(count for _, count, _ in page)
        after = max((seq for _, _, seq in page), default=after)
    return counts


def _counts_of_keys(engine: Engine, stream: str, keys: Sequence[str], position: int) -> dict[str, int]:
    counts: dict[str, int] = {}
    for first in range(0, len(keys), COUNTED_KEYS):
        ids = _ids(stream, keys[first : first + COUNTED_KEYS])
        counts.update(_rows(engine, _COUNT_KEYS, (ids, position)))
    return counts


def _of_keys(
    engine: Engine, stream: str, keys: Sequence[str], position: int, *, by_event_time: bool
) -> Iterator[TimedEvent]:
    within = "event_time, version" if by_event_time else "version"
    return map(_timed, _rows(engine, _OF_KEYS + within, (position, _ids(stream, keys))))


def _of_large_key(engine: Engine, stream: str, key: str, position: int, *, by_event_time: bool) -> Iterator[TimedEvent]:
    of: UUID = aggregate_id(stream, key)
    version, event_ms = 0, EARLIEST_MS
    while True:
        if by_event_time:
            place: tuple[Any, ...] = (event_ms, event_ms, version)
            rows = _rows(engine, _BY_EVENT_TIME, (position, str(of), *place, WALK_ROWS))
        else:
            rows = _rows(engine, _BY_VERSION, (position, str(of), version, WALK_ROWS))
        for timed in map(_timed, rows):
            version, event_ms = timed.event.version, timed.event_ms
            yield timed
        if len(rows) < WALK_ROWS:
            return


def _ids(stream: str, keys: Sequence[str]) -> list[str]:
    return [str(aggregate_id(stream, key)) for key in keys]


def _rows(engine: Engine, statement: str, values: tuple[Any, ...]) -> list[Any]:
    """Returns the driver's own rows, read in one transaction: SQLAlchemy's rows cost a third of the time."""
    with unavailable_as_port_error(), engine.connect() as connection:
        return list(connection.exec_driver_sql(statement, values).cursor.fetchall())


def _timed(row: Any) -> TimedEvent:
    position, shard, seq, key, version, kind, data, event_ms, recorded_ms = row
    return TimedEvent(LoggedEvent(position, shard, seq, key, version, kind, bytes(data)), event_ms, recorded_ms)
