"""Metrics of dead row versions, and of the oldest open transaction, which prevents their removal.

A row version that an open transaction may still see cannot be removed. So a pg_dump, a long query or a forgotten
session makes otherwise small tables grow.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from infrastructure.observability import metrics

WATCHED_TABLES = (
    "log_numbers",
    "relay_marks",
    "projection_fences",
    "projection_states",
    "stage_reports",
    "rider_hours",
    "fleet_minutes",
    "outcome_hours",
    "outcome_places",
    "outcome_riders",
    "published_shards",
)
"""Tables whose rows are replaced all the time. ``events`` is not one of them: its rows are only inserted."""

# Only a role with pg_read_all_stats sees the age of other roles' transactions.
_OLDEST = text(
    "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(xact_start)), 0) FROM pg_stat_activity"
    " WHERE datname = current_database() AND backend_type <> 'autovacuum worker'"
    "  AND pid <> pg_backend_pid() AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)"
)
_DEAD = text(
    "SELECT relname, n_dead_tup FROM pg_stat_user_tables"
    " WHERE relid = ANY(SELECT to_regclass(t) FROM unnest(CAST(:tables AS text[])) AS t)"
)


def show_dead_rows(connection: Connection) -> None:
    """Set the gauges. Raises SQLAlchemyError."""
    metrics.OLDEST_TRANSACTION.set(max(0.0, float(connection.execute(_OLDEST).scalar_one())))
    for table, dead in connection.execute(_DEAD, {"tables": list(WATCHED_TABLES)}):
        metrics.DEAD_ROWS.labels(table).set(dead)
