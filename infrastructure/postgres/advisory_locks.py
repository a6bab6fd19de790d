"""Names of session advisory locks: of one installation, since another one may be in the same database."""

from __future__ import annotations

from sqlalchemy import Connection, text

# Advisory locks are of the whole database. Without a schema of its own the name is what it always was: during an
# upgrade a process of the version before must find the lock taken.
_TRY = text(
    "SELECT pg_try_advisory_lock(hashtextextended(:name || coalesce((SELECT ' of ' || n.nspname"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.oid = to_regclass('log_head') AND n.nspname <> 'public'), ''), 0))"
)


def try_session_lock(connection: Connection, name: str) -> bool:
    """Take the lock ``name`` of this installation until the session ends; False if another session has it."""
    return bool(connection.execute(_TRY, {"name": name}).scalar_one())
