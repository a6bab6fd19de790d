"""Builds the indexes that a migration has only declared on ``events``, partition by partition, while writers append.

``CREATE INDEX`` on the partitioned table reads the whole log, and no event can be recorded meanwhile. A migration
therefore declares an index with ``CREATE INDEX … ON ONLY events``, which reads nothing. New partitions get it when they
are attached. What is here gives it to the partitions of before, after the migration's commit. A process that ends in
between leaves slower queries and no wrong ones; the next ``migrate`` goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from infrastructure.errors import UserError
from infrastructure.postgres.advisory_locks import try_session_lock
from infrastructure.postgres.engine import is_lock_timeout

SNAPSHOT_WAIT_S = 3_600
"""Bounds how long a build waits for transactions that are older than it, as a ``pg_dump``. No writer waits then."""

_LOCK = "ridelog.log_indexes"
# A parent has an index in each partition that is attached to it. One that was built and not attached, or whose build
# was aborted, is found by its name, which is the one that Postgres gives to the indexes of new partitions.
_MISSING = text("""
SELECT parent.oid::regclass::text AS parent, format('%I.%I', n.nspname, p.relname) AS partition,
    quote_ident(names.index_name) AS index_name, format('%I.%I', n.nspname, names.index_name) AS index_path,
    pg_get_indexdef(parent.oid) AS definition, built.indisvalid AS is_valid
FROM pg_index i
JOIN pg_class parent ON parent.oid = i.indexrelid AND parent.relkind = 'I'
JOIN pg_inherits h ON h.inhparent = i.indrelid
JOIN pg_class p ON p.oid = h.inhrelid
JOIN pg_namespace n ON n.oid = p.relnamespace
CROSS JOIN LATERAL (SELECT p.relname || '_' || regexp_replace(parent.relname, '^ix_events_', '') || '_idx') names
    (index_name)
LEFT JOIN pg_class c ON c.relnamespace = p.relnamespace AND c.relname = names.index_name
LEFT JOIN pg_index built ON built.indexrelid = c.oid
WHERE i.indrelid = to_regclass('events') AND NOT i.indisvalid AND NOT EXISTS (
    SELECT FROM pg_inherits a JOIN pg_index x ON x.indexrelid = a.inhrelid
    WHERE a.inhparent = parent.oid AND x.indrelid = p.oid)
ORDER BY parent.relname, p.relname
""")
# A limit that the connection's options name stays.
_IS_BOUNDED = text("SELECT current_setting('lock_timeout') <> '0'")
_BOUND = text("SELECT set_config('lock_timeout', :limit, false)")

ShowBuilt = Callable[[int, int], None]
"""Progress callback: takes (indexes built, of how many)."""


class MissingIndex(NamedTuple):
    """An index of ``events`` that one partition lacks. Names are quoted, as in a statement.

    ``definition``: the statement that declared ``parent``. ``is_valid``: None if there is no index ``index_path``;
    False if its build was aborted; True if it is built and not attached.
    """

    parent: str
    partition: str
    index_name: str
    index_path: str
    definition: str
    is_valid: bool | None

    def statement(self) -> str:
        """The statement that builds it while rows are written."""
        columns = self.definition[self.definition.index(" USING ") :]
        unique = "UNIQUE " if self.definition.startswith("CREATE UNIQUE") else ""
        return f"CREATE {unique}INDEX CONCURRENTLY {self.index_name} ON {self.partition}{columns}"


def missing_indexes(connection: Connection) -> list[MissingIndex]:
    """The indexes that partitions of the log lack, because no ``migrate`` has built them to the end."""
    return [MissingIndex(*row) for row in connection.execute(_MISSING)]


def build_missing(engine: Engine, attach_timeout_s: float, on_built: ShowBuilt = lambda built, of: None) -> None:
    """Build what ``missing_indexes`` finds. Returns at once if another process builds them.

    ``attach_timeout_s`` bounds the wait for the lock of a partition's index, behind which its writers wait.

    Raises UserError if other transactions were open for too long; what is built by then stays.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        missing = missing_indexes(connection)
        if not missing or not try_session_lock(connection, _LOCK):
            return
        bounded = connection.execute(_IS_BOUNDED).scalar_one()
        try:
            for built, one in enumerate(missing, 1):
                _build(connection, one, None if bounded else attach_timeout_s)
                on_built(built, len(missing))
        except OperationalError as error:
            if not is_lock_timeout(error.orig):
                raise
            raise UserError(
                "the database is migrated, but not all indexes of the log are built: other transactions were open for "
                "too long. Everything works meanwhile, some reads slower. Run `python app.py migrate` again when they "
                "have ended (a backup, or one that was forgotten), which pg_stat_activity shows"
            ) from error
        finally:
            # The lock ends with its session, and so do the limits: neither goes back into the pool.
            connection.invalidate()


def _build(connection: Connection, missing: MissingIndex, attach_timeout_s: float | None) -> None:
    """``attach_timeout_s``: None leaves the session's own limit as it is."""
    if attach_timeout_s is not None:
        connection.execute(_BOUND, {"limit": f"{SNAPSHOT_WAIT_S}s"})
    if missing.is_valid is False:
        connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY {missing.index_path}")
    if not missing.is_valid:
        connection.exec_driver_sql(missing.statement())
    if attach_timeout_s is not None:
        connection.execute(_BOUND, {"limit": f"{round(attach_timeout_s * 1_000)}ms"})
    connection.exec_driver_sql(f"ALTER INDEX {missing.parent} ATTACH PARTITION {missing.index_path}")
