"""Stores state snapshots in Postgres, in the database of the events that they are folded from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Engine, select, text

from domain.identifiers import aggregate_id
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.schema import checkpoints as table
from infrastructure.postgres.single_reads import SingleReads
from infrastructure.timestamps import storable_ms
from projections.core.projection import Projection
from projections.core.snapshots import (
    MAX_STARTS,
    SNAPSHOT_INTERVAL,
    EventRange,
    ReplayStart,
    StateSnapshot,
    StoredSnapshot,
)
from projections.digest.digest import fold_digest

c = table.c

# Joined with the event by id, version, position and payload (invariant 14): a snapshot that was folded before a restore
# of the log is not stored.
_SAVE = text(
    "INSERT INTO checkpoints"
    " (projection, fold_digest, aggregate_id, position, version, every, earliest, latest, state, verified)"
    # No row twice, and in one order, so that concurrent writers cannot deadlock.
    " SELECT DISTINCT ON (u.aggregate, u.position) :projection, :digest, u.aggregate, u.position, u.version, :every,"
    "  span.earliest, span.latest, u.state, :verified"
    " FROM unnest(CAST(:aggregates AS uuid[]), CAST(:positions AS bigint[]), CAST(:versions AS bigint[]),"
    "             CAST(:states AS bytea[]), CAST(:payloads AS bytea[]))"
    "      AS u(aggregate, position, version, state, payload)"
    " JOIN events e ON e.aggregate_id = u.aggregate AND e.version = u.version AND e.position = u.position"
    "  AND e.payload = u.payload"
    # OFFSET 0: otherwise the server searches the minimum in the index by event time, through all events of the key.
    " CROSS JOIN LATERAL (SELECT min(event_time) AS earliest, max(event_time) AS latest FROM (SELECT x.event_time"
    "  FROM events x WHERE x.aggregate_id = u.aggregate AND x.version > u.version - :every AND x.version <= u.version"
    "  OFFSET 0) stretch) span"
    " ORDER BY u.aggregate, u.position"
    " ON CONFLICT (projection, fold_digest, aggregate_id, position) DO UPDATE"
    "  SET version = excluded.version, every = excluded.every, earliest = excluded.earliest,"
    "  latest = excluded.latest, state = excluded.state, verified = true WHERE excluded.verified"
)
# Adjacent ranges of one kind are returned by their ends only, so the result does not grow with the stream. Ordered by
# position, which grows with version and is in the primary key.
DECIDED = (
    "WITH instant AS (SELECT timestamptz 'epoch' + :ms * interval '1 millisecond' AS t,"
    "  timestamptz 'epoch' + :after_ms * interval '1 millisecond' AS t_after),"
    " decided AS (SELECT c.version, c.position, c.latest <= t AS happened FROM checkpoints c, instant"
    "  WHERE c.projection = :projection AND c.fold_digest = :digest AND c.aggregate_id = :aggregate"
    # A snapshot with another interval says nothing about the versions before its own range.
    "  AND c.every = :every AND c.version % :every = 0 AND c.position <= :position"
    "  AND (c.latest <= t OR c.earliest > t_after)),"
    " joined AS (SELECT version, position, happened,"
    "  (lag(version) OVER w = version - :every AND lag(happened) OVER w = happened) IS TRUE AS to_last,"
    "  (lead(version) OVER w = version + :every AND lead(happened) OVER w = happened) IS TRUE AS to_next"
    "  FROM decided WINDOW w AS (ORDER BY position))"
    " SELECT version, position, happened, to_last, to_next FROM joined WHERE NOT (to_last AND to_next)"
    " ORDER BY position"
)
# Joined with the events, as in _SAVE: a replay must not start from a snapshot of another log.
_STARTS = text(
    "SELECT e.aggregate_key, e.seq, k.version, k.position, k.state FROM"
    " (SELECT DISTINCT ON (c.aggregate_id) c.aggregate_id, c.version, c.position, c.state FROM checkpoints c"
    "   WHERE c.projection = :projection AND c.fold_digest = :digest AND c.verified"
    "   ORDER BY c.aggregate_id, c.position DESC) k"
    " JOIN events e ON e.position = k.position AND e.aggregate_id = k.aggregate_id AND e.version = k.version"
    " WHERE e.stream = :stream AND e.shard = :shard ORDER BY k.version DESC LIMIT :most"
)
_FORGET = text(
    "DELETE FROM checkpoints WHERE projection = :projection AND aggregate_id = :aggregate AND position >= :position"
)
_SWEEP = text(
    "DELETE FROM checkpoints c WHERE c.projection = :projection AND NOT EXISTS ("
    " SELECT FROM projection_generations g WHERE g.projection = c.projection AND g.fold_digest = c.fold_digest"
    " AND g.state <> 'dropped')"
)


class PostgresStateSnapshots:
    """The snapshots of ``projection`` under the digest of its fold in this code (``projections.core.snapshots``).

    ``every``: versions from one snapshot to the next; snapshots are at its multiples.
    """

    def __init__(
        self,
        engine: Engine,
        projection: Projection[Any],
        every: int = SNAPSHOT_INTERVAL,
        reads: SingleReads | None = None,
    ) -> None:
        self._engine = engine
        self._single_reads = SingleReads(engine) if reads is None else reads
        self._stream = projection.stream
        self._of = {"projection": projection.name, "digest": fold_digest(projection)}
        self._mine = (c.projection == projection.name) & (c.fold_digest == self._of["digest"])
        self._every = every

    def save(self, snapshots: Sequence[StateSnapshot], *, verified: bool) -> None:
        if not snapshots:
            return
        values = {
            **self._of,
            "verified": verified,
            "every": self._every,
            "aggregates": [str(aggregate_id(self._stream, one.key)) for one in snapshots],
            "positions": [one.position for one in snapshots],
            "versions": [one.version for one in snapshots],
            "states": [one.state for one in snapshots],
            "payloads": [one.payload for one in snapshots],
        }
        with unavailable_as_port_error(), self._engine.begin() as connection:
            connection.execute(_SAVE, values)

    def latest(self, key: str, position: int, *, verified: bool = False) -> StoredSnapshot | None:
        wanted = self._of_key(key) & (c.position <= position)
        if verified:
            wanted &= c.verified
        return self._one(_STORED.where(wanted).order_by(c.position.desc()).limit(1))

    def at(self, key: str, position: int) -> StoredSnapshot | None:
        return self._one(_STORED.where(self._of_key(key), c.position == position))

    def starts(self, shard: int) -> list[ReplayStart]:
        values = {**self._of, "stream": self._stream, "shard": shard, "most": MAX_STARTS}
        with unavailable_as_port_error(), self._engine.connect() as connection:
            rows = connection.execute(_STARTS, values).all()
        return [ReplayStart(row[0], row[1], row[2], row[3], bytes(row[4])) for row in rows]

    def decided(self, key: str, position: int, sent_by_ms: int, sent_after_ms: int | None = None) -> list[EventRange]:
        values = self._decided_values(key, position, sent_by_ms, sent_after_ms)
        with unavailable_as_port_error(), self._single_reads.connect() as connection:
            return self._ranges(connection.execute(_DECIDED, values).all())

    def _decided_values(
        self, key: str, position: int | None, sent_by_ms: int, sent_after_ms: int | None
    ) -> dict[str, Any]:
        return {
            **self._of,
            "aggregate": aggregate_id(self._stream, key),
            "every": self._every,
            "position": position,
            "ms": storable_ms(sent_by_ms),
            "after_ms": storable_ms(sent_by_ms if sent_after_ms is None else sent_after_ms),
        }

    def _ranges(self, rows: Iterable[Sequence[Any]]) -> list[EventRange]:
        found: list[EventRange] = []
        for version, place, happened, to_last, to_next in rows:
            if not to_last:
                after = version - self._every
            if not to_next:
                found.append(EventRange(after, version, place, happened))
        return found

    def _of_key(self, key: str) -> Any:
        return self._mine & (c.aggregate_id == aggregate_id(self._stream, key))

    def _one(self, query: Any) -> StoredSnapshot | None:
        with unavailable_as_port_error(), self._single_reads.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else StoredSnapshot(row[0], row[1], bytes(row[2]), row[3])


_DECIDED = text(DECIDED)
_STORED = select(c.version, c.position, c.state, c.verified)


def forget_from(engine: Engine, projection: Projection[Any], key: str, position: int) -> None:
    """Deletes the snapshots, of every digest, that contain the key's event at ``position``: it was discarded."""
    values = {"projection": projection.name, "aggregate": aggregate_id(projection.stream, key), "position": position}
    with unavailable_as_port_error(), engine.begin() as connection:
        connection.execute(_FORGET, values)


def sweep(engine: Engine, projection: str) -> None:
    """Deletes the snapshots of folds that no generation uses any more."""
    with unavailable_as_port_error(), engine.begin() as connection:
        connection.execute(_SWEEP, {"projection": projection})
