"""The queries of the event store's read side, one function each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import Notification, StoredEvent
from sqlalchemy import ColumnElement, Connection, Select, select, text

from domain.event_store import CommandRef, PingIdentity, PositionedEvent, RecordedPayload, RecordedVersion
from infrastructure.postgres.schema import discarded_events, events
from projections.core.ports import LoggedEvent

LOGGED_COLUMNS = "position, shard, seq, aggregate_key, version, event_type, payload"
"""The columns of a LoggedEvent, in the order that ``logged_events`` reads them."""

_FIND = text(
    "SELECT u.ord, e.position, e.payload"
    " FROM unnest(CAST(:aggregates AS uuid[]), CAST(:times AS bigint[]), CAST(:ids AS uuid[]))"
    "      WITH ORDINALITY AS u(aggregate_id, ms, event_id, ord)"
    " JOIN events e ON e.aggregate_id = u.aggregate_id"
    "  AND e.event_time = timestamptz 'epoch' + u.ms * interval '1 millisecond'"
    "  AND e.event_id = u.event_id"
    # The other events of a rider have ids that any client can compute and name in a ping.
    "  AND e.event_type = 'GpsPing'"
)

FIND_COMMANDS = text(
    "SELECT u.ord, e.version, e.event_type, e.payload"
    " FROM unnest(CAST(:aggregates AS uuid[]), CAST(:ids AS text[])) WITH ORDINALITY AS u(aggregate, id, ord)"
    # Both conditions, since a dispatcher may use one key for each of a million orders: the statistics say which of the
    # indexes, on command_id or on the aggregate, has fewer rows.
    " JOIN events e ON e.command_id = u.id AND e.aggregate_id = u.aggregate AND e.command_id IS NOT NULL"
    " ORDER BY u.ord, e.version"
)

_STREAMS = text(
    "SELECT e.aggregate_id, e.version, e.event_type, e.payload, e.position"
    " FROM unnest(CAST(:aggregates AS uuid[]), CAST(:versions AS bigint[])) AS u(aggregate_id, version)"
    " JOIN events e ON e.aggregate_id = u.aggregate_id AND e.version > u.version"
    " ORDER BY e.aggregate_id, e.version"
)

_LATEST = text(
    "SELECT u.id, last.version, last.position FROM unnest(CAST(:aggregates AS uuid[])) AS u(id)"
    " CROSS JOIN LATERAL ("
    "  (SELECT e.version, e.position FROM events e WHERE e.aggregate_id = u.id ORDER BY e.version DESC LIMIT 1)"
    # All of its events were detached: its versions continue from its snapshot.
    "  UNION ALL"
    "  (SELECT s.version, 0 FROM snapshots s WHERE s.aggregate_id = u.id ORDER BY s.version DESC LIMIT 1)"
    "  LIMIT 1) AS last"
)

_SHARD = text(
    f"SELECT {LOGGED_COLUMNS} FROM events"  # noqa: S608
    " WHERE stream = :stream AND shard = :shard AND seq > :after ORDER BY seq LIMIT :limit"
)

_KEY = text(
    f"SELECT {LOGGED_COLUMNS} FROM events"  # noqa: S608
    " WHERE aggregate_id = :aggregate AND version >= :version AND seq <= :upto ORDER BY version LIMIT :limit"
)

_POSITIONS = (
    f"SELECT {LOGGED_COLUMNS} FROM events"  # noqa: S608
    " WHERE position > %s AND position <= %s AND stream = %s AND shard = ANY(%s) ORDER BY position"
)

_AT = f"SELECT {LOGGED_COLUMNS} FROM events WHERE position = ANY(%s::bigint[])"  # noqa: S608


def logged_events(rows: Iterable[Any]) -> list[LoggedEvent]:
    """The events of rows that were selected with LOGGED_COLUMNS."""
    return [LoggedEvent(p, shard, seq, key, v, kind, bytes(data)) for p, shard, seq, key, v, kind, data in rows]


def select_events(
    connection: Connection,
    originator_id: UUID | str,
    *,
    gt: int | None = None,
    lte: int | None = None,
    desc: bool = False,
    limit: int | None = None,
) -> list[StoredEvent]:
    """Returns events of one aggregate by version, as the library's plain StoredEvents."""
    query = select(events.c.version, events.c.event_type, events.c.payload).where(
        events.c.aggregate_id == originator_id
    )
    query = of_versions(query, events.c.version, gt=gt, lte=lte, desc=desc, limit=limit)
    return [
        StoredEvent(originator_id=originator_id, originator_version=row[0], topic=row[1], state=bytes(row[2]))
        for row in connection.execute(query)
    ]


def of_versions(
    query: Select[Any], version: ColumnElement[int], *, gt: int | None, lte: int | None, desc: bool, limit: int | None
) -> Select[Any]:
    """Restricts ``query`` to the versions that the library's ``select_events`` names."""
    if gt is not None:
        query = query.where(version > gt)
    if lte is not None:
        query = query.where(version <= lte)
    return query.order_by(version.desc() if desc else version).limit(limit)


def select_notifications(
    connection: Connection,
    start: int | None,
    limit: int,
    stop: int | None,
    topics: Sequence[str],
    *,
    inclusive_of_start: bool,
) -> list[Notification]:
    """Returns events of the whole log by position."""
    c = events.c
    query = select(c.position, c.aggregate_id, c.version, c.event_type, c.payload).order_by(c.position).limit(limit)
    if start is not None:
        query = query.where(c.position >= start if inclusive_of_start else c.position > start)
    if stop is not None:
        query = query.where(c.position <= stop)
    if topics:
        query = query.where(c.event_type.in_(topics))
    return [
        Notification(id=row[0], originator_id=row[1], originator_version=row[2], topic=row[3], state=bytes(row[4]))
        for row in connection.execute(query)
    ]


def find_pings(connection: Connection, identities: Sequence[PingIdentity]) -> dict[PingIdentity, RecordedPayload]:
    """Returns position and payload of those pings that are recorded."""
    if not identities:
        return {}
    rows = connection.execute(
        _FIND,
        {
            "aggregates": [str(identity.aggregate_id) for identity in identities],
            "times": [identity.event_timestamp_ms for identity in identities],
            "ids": [identity.event_id for identity in identities],
        },
    )
    return {identities[row[0] - 1]: RecordedPayload(row[1], bytes(row[2])) for row in rows}


def find_commands(connection: Connection, refs: Sequence[CommandRef]) -> dict[CommandRef, list[StoredEvent]]:
    """Returns the aggregate's events that each command recorded, by version. A command without one is absent."""
    values = {"aggregates": [str(ref.aggregate_id) for ref in refs], "ids": [ref.command_id for ref in refs]}
    found: dict[CommandRef, list[StoredEvent]] = {}
    for row in connection.execute(FIND_COMMANDS, values):
        ref = refs[row[0] - 1]
        found.setdefault(ref, []).append(StoredEvent(ref.aggregate_id, row[1], row[2], bytes(row[3])))
    return found


def streams_after(connection: Connection, versions: Sequence[tuple[UUID, int]]) -> list[PositionedEvent]:
    """Returns all events of each aggregate after the given version, by aggregate and version."""
    if not versions:
        return []
    rows = connection.execute(
        _STREAMS,
        {"aggregates": [str(a) for a, _ in versions], "versions": [v for _, v in versions]},
    )
    return [PositionedEvent(row[0], row[1], row[2], bytes(row[3]), row[4]) for row in rows]


def latest(connection: Connection, aggregates: Sequence[UUID]) -> dict[UUID, RecordedVersion]:
    """Returns version and position of each aggregate's last event. An aggregate without an event is absent."""
    if not aggregates:
        return {}
    rows = connection.execute(_LATEST, {"aggregates": [str(aggregate) for aggregate in aggregates]})
    return {row[0]: RecordedVersion(row[1], row[2]) for row in rows}


def read_positions(
    connection: Connection, stream: str, shards: Sequence[int], after: int, upto: int
) -> list[LoggedEvent]:
    # The driver's own rows: a rebuild reads millions, and SQLAlchemy's rows cost a third of the time.
    rows = connection.exec_driver_sql(_POSITIONS, (after, upto, stream, list(shards))).cursor.fetchall()
    return logged_events(rows)


def read_key(
    connection: Connection, aggregate: UUID, from_version: int, upto_seq: int, limit: int | None
) -> list[LoggedEvent]:
    values = {"aggregate": aggregate, "version": from_version, "upto": upto_seq, "limit": limit}
    return logged_events(connection.execute(_KEY, values))


def discarded(connection: Connection, projection: str) -> frozenset[int]:
    query = select(discarded_events.c.position).where(discarded_events.c.projection == projection)
    return frozenset(connection.execute(query).scalars())


def events_at(connection: Connection, positions: Sequence[int]) -> dict[int, LoggedEvent]:
    rows = connection.exec_driver_sql(_AT, (list(positions),)).cursor.fetchall()
    return {event.position: event for event in logged_events(rows)}


def read_shard(connection: Connection, stream: str, shard: int, after_seq: int, limit: int) -> list[LoggedEvent]:
    rows = connection.execute(_SHARD, {"stream": stream, "shard": shard, "after": after_seq, "limit": limit})
    return logged_events(rows)
