"""Stores a sample of the served reads in Postgres, and reads them for the parity check.

Implements ``projections.parity.served_reads.ServedReads``. Only the newest reads are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, text

from domain.identifiers import aggregate_id
from infrastructure.postgres.errors import unavailable_as_port_error
from projections.parity.served_reads import LoggedRead, ReadTally, ReadVerdict, ServedRead, WrongSnapshot
from read_models.view import ViewLimits

_COLUMNS = (
    "id, fold_digest, view_digest, verdict, key, generation, version, position, read_ms,"
    " target_freshness_ms, feature_ttl_ms, allow_expired, body"
)
# All reads of a key are in one part, so only the process that checks that part folds the key.
_SCOPE = (
    "FROM served_reads WHERE projection = %s AND read_ms >= %s AND mod(hashtext(key)::bigint + 2147483648, %s) = %s"
)
_COUNT = f"SELECT count(*) {_SCOPE}"
_SCAN = f'SELECT id {_SCOPE} ORDER BY key COLLATE "C", version, id'
_OF_IDS = f'SELECT {_COLUMNS} FROM served_reads WHERE id = ANY(%s) ORDER BY key COLLATE "C", version, id'  # noqa: S608
_UNCHECKED = (
    f"SELECT {_COLUMNS} FROM served_reads WHERE id IN ("  # noqa: S608
    " (SELECT id FROM served_reads WHERE verdict IS NULL AND projection = %s ORDER BY id LIMIT %s)"
    " UNION (SELECT id FROM served_reads WHERE verdict IS NULL AND projection = %s ORDER BY id DESC LIMIT %s)"
    ') ORDER BY key COLLATE "C", version, id'
)
_RECORD = text(
    "UPDATE served_reads SET verdict = :verdict WHERE id = ANY(:ids) AND verdict IS DISTINCT FROM :verdict"
    " AND (verdict IS NULL OR :verdict <> 'other code')"
)
_TALLY = text(
    "SELECT (SELECT count(*) FROM served_reads WHERE projection = :projection),"
    " (SELECT count(*) FROM served_reads WHERE projection = :projection AND verdict IS NULL)"
)
_WAITING = text("SELECT count(*) FROM served_reads WHERE projection = :projection AND verdict IS NULL")
_MISMATCHES = text(
    "SELECT g.generation,"
    " (SELECT count(*) FROM served_reads r"
    "   WHERE r.verdict = 'different' AND r.projection = g.projection AND r.generation = g.generation)"
    " + (SELECT count(*) FROM wrong_checkpoints w WHERE w.projection = g.projection AND w.generation = g.generation)"
    " FROM projection_generations g WHERE g.projection = :projection AND g.active"
)
# A state snapshot belongs to a fold, not to a generation, and its writer is not recorded. The active generation counts
# as wrong if it has that fold: one unnecessary rebuild is better than serving a wrong generation without a report.
_WRONG = text(
    "INSERT INTO wrong_checkpoints (projection, generation, key, version, position, kept, folded)"
    " SELECT :projection, coalesce((SELECT live.generation FROM projection_generations live"
    "  JOIN projection_generations of ON of.projection = live.projection AND of.fold_digest = live.fold_digest"
    "  WHERE live.projection = :projection AND live.active AND of.generation = :generation), :generation),"
    " :key, :version, :position, :kept, :folded ON CONFLICT DO NOTHING"
)
SCAN_ROWS = 2_000
"""Rows that a scan reads in one transaction. The ids of all rows are held in memory, bounded by the reads kept."""


class PostgresServedReads:
    """The served reads of ``projection`` whose keys are in part ``part`` of ``parts``. Raises PortUnavailable."""

    def __init__(self, engine: Engine, projection: str, part: int = 0, parts: int = 1) -> None:
        self._engine = engine
        self._projection = projection
        self._part = (parts, part)

    def count(self, since_ms: int) -> int:
        with unavailable_as_port_error(), self._engine.connect() as connection:
            found = connection.exec_driver_sql(_COUNT, (self._projection, since_ms, *self._part))
            return int(found.scalar_one())

    def scan(self, since_ms: int) -> Iterator[LoggedRead]:
        # In short transactions: a long one would keep the database's dead rows for as long as the check takes.
        values = (self._projection, since_ms, *self._part)
        with unavailable_as_port_error(), self._engine.connect() as connection:
            ids = [row[0] for row in connection.exec_driver_sql(_SCAN, values).cursor.fetchall()]
        for first in range(0, len(ids), SCAN_ROWS):
            # Rows that were trimmed in the meantime are missing.
            with unavailable_as_port_error(), self._engine.connect() as connection:
                rows = connection.exec_driver_sql(_OF_IDS, (ids[first : first + SCAN_ROWS],)).cursor.fetchall()
            yield from map(_logged, rows)

    def unchecked(self, limit: int) -> list[LoggedRead]:
        values = (self._projection, limit - limit // 2, self._projection, limit // 2)
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return list(map(_logged, connection.exec_driver_sql(_UNCHECKED, values).cursor.fetchall()))

    def record(self, verdicts: Mapping[ReadVerdict, Sequence[int]]) -> None:
        with unavailable_as_port_error(), self._engine.begin() as connection:
            for verdict, ids in verdicts.items():
                if ids:
                    connection.execute(_RECORD, {"verdict": verdict, "ids": list(ids)})

    def record_wrong(self, wrong: WrongSnapshot) -> None:
        values = {"projection": self._projection, **wrong._asdict()}
        with unavailable_as_port_error(), self._engine.begin() as connection:
            connection.execute(_WRONG, values)

    def mismatches(self) -> tuple[int | None, int]:
        """The generation that readers follow, and how many mismatches are on record for it."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            row = connection.execute(_MISMATCHES, {"projection": self._projection}).one_or_none()
        return (None, 0) if row is None else (int(row[0]), int(row[1]))

    def waiting(self) -> int:
        """How many are not checked yet."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return int(connection.execute(_WAITING, {"projection": self._projection}).scalar_one())

    def tally(self) -> ReadTally:
        generation, mismatches = self.mismatches()
        with unavailable_as_port_error(), self._engine.connect() as connection:
            kept, unchecked = connection.execute(_TALLY, {"projection": self._projection}).one()
        return ReadTally(kept - unchecked, unchecked, mismatches, generation)


def _logged(row: Any) -> LoggedRead:
    id_, fold, view, verdict, key, generation, version, position, read_ms, fresh_ms, ttl_ms, expired, body = row
    limits = ViewLimits(fresh_ms, ttl_ms)
    read = ServedRead(key, generation, version, position, read_ms, limits, expired, bytes(body))
    return LoggedRead(id_, fold, view, None if verdict is None else ReadVerdict(verdict), read)


# The digest is the generation's, not this process's: the read shows a state that the generation has folded.
_ADD = text(
    "INSERT INTO served_reads (projection, key, generation, fold_digest, view_digest, version, position, read_ms,"
    "  target_freshness_ms, feature_ttl_ms, allow_expired, body)"
    " SELECT g.projection, u.key, g.generation, g.fold_digest, :view_digest, u.version, u.position, u.read_ms,"
    "  u.target_freshness_ms, u.feature_ttl_ms, u.allow_expired, u.body"
    " FROM unnest(CAST(:keys AS text[]), CAST(:generations AS int[]), CAST(:versions AS bigint[]),"
    "  CAST(:positions AS bigint[]), CAST(:reads AS bigint[]), CAST(:targets AS bigint[]), CAST(:ttls AS bigint[]),"
    "  CAST(:expired AS boolean[]), CAST(:bodies AS bytea[])) WITH ORDINALITY"
    "  AS u(key, generation, version, position, read_ms, target_freshness_ms, feature_ttl_ms, allow_expired, body, n)"
    " JOIN projection_generations g ON g.projection = :projection AND g.generation = u.generation ORDER BY u.n"
)
_KNOWN = text(
    "SELECT u.n FROM unnest(CAST(:aggregates AS uuid[]), CAST(:positions AS bigint[])) WITH ORDINALITY"
    "  AS u(aggregate, position, n)"
    " WHERE (SELECT e.position FROM events e WHERE e.aggregate_id = u.aggregate ORDER BY e.version LIMIT 1)"
    "  <= u.position"
)
_TRIM = text(
    "DELETE FROM served_reads r USING (SELECT max(id) AS id FROM served_reads) newest"
    " WHERE r.id <= newest.id - :keep AND (r.verdict IS DISTINCT FROM 'different' OR r.id <= newest.id - 2 * :keep)"
)


def add(engine: Engine, projection: str, view_digest: str, reads: Sequence[ServedRead]) -> int:
    """Stores ``reads`` and returns how many. A read of an unknown generation is skipped. Raises PortUnavailable."""
    values = {
        "projection": projection,
        "view_digest": view_digest,
        "keys": [read.key for read in reads],
        "generations": [read.generation for read in reads],
        "versions": [read.version for read in reads],
        "positions": [read.position for read in reads],
        "reads": [read.read_ms for read in reads],
        "targets": [read.limits.target_freshness_ms for read in reads],
        "ttls": [read.limits.feature_ttl_ms for read in reads],
        "expired": [read.allow_expired for read in reads],
        "bodies": [read.body for read in reads],
    }
    with unavailable_as_port_error(), engine.begin() as connection:
        return int(connection.execute(_ADD, values).rowcount)


def known(engine: Engine, stream: str, reads: Sequence[ServedRead]) -> list[ServedRead]:
    """Returns the reads whose key has an event at the read's position or before. Raises PortUnavailable."""
    if not reads:
        return []
    values = {
        "aggregates": [str(aggregate_id(stream, read.key)) for read in reads],
        "positions": [read.position for read in reads],
    }
    with unavailable_as_port_error(), engine.connect() as connection:
        return [reads[row.n - 1] for row in connection.execute(_KNOWN, values)]


def trim(engine: Engine, keep: int) -> None:
    """Deletes all but the newest ``keep`` reads. Differences stay twice as long, as evidence.

    Raises PortUnavailable.
    """
    with unavailable_as_port_error(), engine.begin() as connection:
        connection.execute(_TRIM, {"keep": keep})
