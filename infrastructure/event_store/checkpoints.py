"""Checkpoints in Postgres (``projections.checkpoints.Checkpoints``), beside the events that they are folded from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, select, text

from domain.identifiers import aggregate_id
from infrastructure.event_store.errors import unavailable_as_port_error
from infrastructure.event_store.head import epoch_ms
from infrastructure.event_store.tables import checkpoints as table
from projections.checkpoints import EVERY, Checkpoint, Kept, Mark
from projections.digest import fold_digest
from projections.protocol import Projection

c = table.c

# Joined with the very event, payload and all: what a worker has folded of a log that was restored since is not kept.
_KEEP = text(
    "INSERT INTO checkpoints"
    " (projection, fold_digest, aggregate_id, position, version, every, earliest, latest, state, verified)"
    # No row twice, and in one order: keepers that meet wait for each other, and not in a circle.
    " SELECT DISTINCT ON (u.aggregate, u.position) :projection, :digest, u.aggregate, u.position, u.version, :every,"
    "  span.earliest, span.latest, u.state, :verified"
    " FROM unnest(CAST(:aggregates AS uuid[]), CAST(:positions AS bigint[]), CAST(:versions AS bigint[]),"
    "             CAST(:states AS bytea[]), CAST(:payloads AS bytea[]))"
    "      AS u(aggregate, position, version, state, payload)"
    " JOIN events e ON e.aggregate_id = u.aggregate AND e.version = u.version AND e.position = u.position"
    "  AND e.payload = u.payload"
    " CROSS JOIN LATERAL (SELECT min(x.event_time) AS earliest, max(x.event_time) AS latest FROM events x"
    "  WHERE x.aggregate_id = u.aggregate AND x.version > u.version - :every AND x.version <= u.version) span"
    " ORDER BY u.aggregate, u.position"
    " ON CONFLICT (projection, fold_digest, aggregate_id, position) DO UPDATE"
    "  SET version = excluded.version, every = excluded.every, earliest = excluded.earliest,"
    "  latest = excluded.latest, state = excluded.state, verified = true WHERE excluded.verified"
)
_FORGET = text(
    "DELETE FROM checkpoints WHERE projection = :projection AND aggregate_id = :aggregate AND position >= :position"
)
_SWEEP = text(
    "DELETE FROM checkpoints c WHERE c.projection = :projection AND NOT EXISTS ("
    " SELECT FROM projection_generations g WHERE g.projection = c.projection AND g.fold_digest = c.fold_digest"
    " AND g.state <> 'dropped')"
)


class PostgresCheckpoints:
    """Those of ``projection`` under the digest of its fold in this code. ``every`` is also the grid they lie on."""

    def __init__(self, engine: Engine, projection: Projection[Any], every: int = EVERY) -> None:
        self._engine = engine
        self._stream = projection.stream
        self._of = {"projection": projection.name, "digest": fold_digest(projection)}
        self._mine = (c.projection == projection.name) & (c.fold_digest == self._of["digest"])
        self._every = every

    def keep(self, checkpoints: Sequence[Checkpoint], *, verified: bool) -> None:
        if not checkpoints:
            return
        values = {
            **self._of,
            "verified": verified,
            "every": self._every,
            "aggregates": [str(aggregate_id(self._stream, one.key)) for one in checkpoints],
            "positions": [one.position for one in checkpoints],
            "versions": [one.version for one in checkpoints],
            "states": [one.state for one in checkpoints],
            "payloads": [one.payload for one in checkpoints],
        }
        with unavailable_as_port_error(), self._engine.begin() as connection:
            connection.execute(_KEEP, values)

    def latest(self, key: str, position: int, *, verified: bool = False) -> Kept | None:
        wanted = self._of_key(key) & (c.position <= position)
        if verified:
            wanted &= c.verified
        return self._one(_KEPT.where(wanted).order_by(c.position.desc()).limit(1))

    def at(self, key: str, version: int) -> Kept | None:
        return self._one(_KEPT.where(self._of_key(key), c.version == version))

    def marks(self, key: str, position: int) -> list[Mark]:
        # One of another grid says nothing of the versions before its own stretch.
        mine = self._of_key(key) & (c.every == self._every)
        query = select(c.version, c.earliest, c.latest).where(mine, c.position <= position)
        with unavailable_as_port_error(), self._engine.connect() as connection:
            rows = connection.execute(query.order_by(c.position)).all()
        return [Mark(version, epoch_ms(earliest), epoch_ms(latest)) for version, earliest, latest in rows]

    def _of_key(self, key: str) -> Any:
        return self._mine & (c.aggregate_id == aggregate_id(self._stream, key))

    def _one(self, query: Any) -> Kept | None:
        with unavailable_as_port_error(), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Kept(row[0], row[1], bytes(row[2]), row[3])


_KEPT = select(c.version, c.position, c.state, c.verified)


def forget_from(engine: Engine, projection: Projection[Any], key: str, position: int) -> None:
    """Drop what has folded the key's event at ``position``, under every digest: it was discarded."""
    values = {"projection": projection.name, "aggregate": aggregate_id(projection.stream, key), "position": position}
    with unavailable_as_port_error(), engine.begin() as connection:
        connection.execute(_FORGET, values)


def sweep(engine: Engine, projection: str) -> None:
    """Drop those of folds that no generation is left of."""
    with unavailable_as_port_error(), engine.begin() as connection:
        connection.execute(_SWEEP, {"projection": projection})
