"""Session advisory locks of one installation: another installation may use the same database."""

from __future__ import annotations

from sqlalchemy import Connection, text

# Advisory locks are global in a database. Without its own schema an installation uses the old name: during an upgrade a
# process of the previous version must find the lock taken.
_TRY = text(
    "SELECT pg_try_advisory_lock(hashtextextended(:name || coalesce((SELECT ' of ' || n.nspname"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.oid = to_regclass('log_head') AND n.nspname <> 'public'), ''), 0))"
)


def try_session_lock(connection: Connection, name: str) -> bool:
    """Takes the lock ``name`` of this installation until the session ends. Returns False if another session has it."""
    return bool(connection.execute(_TRY, {"name": name}).scalar_one())
