"""Writes served reads down, and keeps no more than the newest of them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, text

from domain.identifiers import aggregate_id
from infrastructure.event_store.errors import unavailable_as_port_error
from projections.parity.served import ServedRead

# The digest is the generation's own: whatever this process folds with, it has only read what that one had folded.
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
    """How many were written: one of a generation that is not known is not. Raises PortUnavailable."""
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
    """Those of keys that the log has at the position of the read or before. Raises PortUnavailable."""
    if not reads:
        return []
    values = {
        "aggregates": [str(aggregate_id(stream, read.key)) for read in reads],
        "positions": [read.position for read in reads],
    }
    with unavailable_as_port_error(), engine.connect() as connection:
        return [reads[row.n - 1] for row in connection.execute(_KNOWN, values)]


def trim(engine: Engine, keep: int) -> None:
    """Drop all but the newest ``keep``; differences stay twice as long, since they say what is wrong. Raises
    PortUnavailable."""
    with unavailable_as_port_error(), engine.begin() as connection:
        connection.execute(_TRIM, {"keep": keep})
