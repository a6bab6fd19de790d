"""Creates, repairs and inspects the publication and the replication slot that the tailer reads from."""

from __future__ import annotations

import re
from typing import NamedTuple

from psycopg2.errors import DuplicateObject
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from infrastructure.cdc.row_to_record import COLUMNS

_NAME = re.compile(r"[a-z0-9_]{1,63}")

_SLOT = text(
    "SELECT active, wal_status, safe_wal_size, confirmed_flush_lsn - '0/0'::pg_lsn AS confirmed,"
    " pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint AS retained_bytes,"
    " pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint AS behind_bytes,"
    # Through JSON: servers before 17 have no such column.
    " to_jsonb(s) ->> 'invalidation_reason' AS invalidation_reason"
    " FROM pg_replication_slots s WHERE slot_name = :slot AND database = current_database()"
)
_PUBLICATION = text(
    "SELECT pubinsert AND NOT pubupdate AND NOT pubdelete AND NOT pubtruncate AND pubviaroot AS options, puballtables"
    " FROM pg_publication WHERE pubname = :name"
)
# Tables named events in any schema: another installation may have one.
_PUBLISHED = text(
    # A row filter would leave events out. It counts as a mismatch of the columns, so it is replaced.
    "SELECT n.nspname AS schema, CASE WHEN r.prqual IS NULL THEN ARRAY(SELECT attname::text FROM pg_attribute"
    "  WHERE attrelid = c.oid AND attnum = ANY (r.prattrs::int2[])) ELSE '{}' END AS columns"
    " FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid JOIN pg_class c ON c.oid = r.prrelid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = :name AND c.relname = 'events'"
    " UNION ALL SELECT n.nspname, '{}' FROM pg_publication p JOIN pg_publication_namespace s ON s.pnpubid = p.oid"
    " JOIN pg_namespace n ON n.oid = s.pnnspid WHERE p.pubname = :name"
)
_SCHEMA = text(
    "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = 'events'::regclass"
)


_IDENTITY = text("SELECT system_identifier::text, current_database() FROM pg_control_system()")


class SlotUnusable(Exception):
    """The slot or the server cannot be used; the message says what to do."""


class DatabaseIdentity(NamedTuple):
    """``system``: the cluster's identifier, as IDENTIFY_SYSTEM gives it."""

    system: str
    database: str


class SlotState(NamedTuple):
    """One row of pg_replication_slots.

    ``confirmed``: LSN that the slot resumes from. ``behind_bytes``: WAL that is not confirmed yet. ``retained_bytes``:
    WAL that the server keeps on disk for this slot. ``safe_wal_size``: bytes of WAL that may still be written before
    the slot is in danger, None if max_slot_wal_keep_size sets no limit. ``invalidation_reason``: why it is lost, if the
    server reports it.
    """

    active: bool
    confirmed: int
    wal_status: str
    safe_wal_size: int | None
    retained_bytes: int
    behind_bytes: int
    invalidation_reason: str | None = None

    @property
    def is_lost(self) -> bool:
        return self.wal_status == "lost"


def slot_state(connection: Connection, slot: str) -> SlotState | None:
    """The state of a slot of this database; None if there is none. Raises SQLAlchemyError."""
    row = connection.execute(_SLOT, {"slot": slot}).one_or_none()
    if row is None:
        return None
    return SlotState(
        row.active,
        int(row.confirmed or 0),
        row.wal_status or "unknown",
        row.safe_wal_size,
        int(row.retained_bytes or 0),
        int(row.behind_bytes or 0),
        row.invalidation_reason,
    )


def database_identity(connection: Connection) -> DatabaseIdentity:
    """The identity of this connection's database. Raises SQLAlchemyError."""
    return DatabaseIdentity(*map(str, connection.execute(_IDENTITY).one()))


def events_schema(connection: Connection) -> str:
    """The schema of the table ``events`` that this connection sees. Raises SQLAlchemyError if it sees none."""
    return str(connection.execute(_SCHEMA).scalar_one())


def has_publication(connection: Connection, publication: str) -> bool:
    """Whether a publication of that name exists. Raises SQLAlchemyError."""
    return connection.execute(_PUBLICATION, {"name": publication}).one_or_none() is not None


def ensure_publication(engine: Engine, publication: str) -> None:
    """Create or repair the publication.

    Raises SlotUnusable when the server has no logical replication, or the publication belongs to another table.
    """
    _check_name(publication)
    with engine.begin() as connection:
        level = connection.execute(text("SHOW wal_level")).scalar_one()
        if level != "logical":
            raise SlotUnusable(
                f"Postgres has wal_level={level}: set wal_level=logical and restart it, or set RIDELOG_RELAY=polling"
            )
        _ensure_publication(connection, publication)


def drop_slot(engine: Engine, slot: str) -> None:
    """Drop a slot. Raises SQLAlchemyError, also when a process reads from it."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SELECT pg_drop_replication_slot(:slot)"), {"slot": slot})


def create_slot(engine: Engine, slot: str) -> None:
    """Create a slot. It starts at the end of the WAL, once all open transactions have ended.

    Raises SlotUnusable, or SQLAlchemyError when a transaction stays open for longer than half a minute.
    """
    _check_name(slot)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Detached from the pool, so that the time-out ends with the connection.
        connection.detach()
        connection.execute(text("SET statement_timeout = '30s'"))
        try:
            connection.execute(text("SELECT pg_create_logical_replication_slot(:slot, 'pgoutput')"), {"slot": slot})
        except ProgrammingError as error:
            if not isinstance(error.orig, DuplicateObject):
                raise
            # Slot names are unique per server: a database restored next to the old one finds the slot of the old one.
            raise SlotUnusable(
                f"another database of this server has a replication slot {slot}: if its tailer no longer exists, "
                f"run there SELECT pg_drop_replication_slot('{slot}'), else set RIDELOG_SLOT_NAME to another name here"
            ) from error


def _ensure_publication(connection: Connection, name: str) -> None:
    row = connection.execute(_PUBLICATION, {"name": name}).one_or_none()
    # Names are validated and columns are constants: no user input gets into this DDL.
    table = f"events ({', '.join(COLUMNS)})"
    options = "publish = 'insert', publish_via_partition_root = true"
    if row is None:
        connection.execute(text(f"CREATE PUBLICATION {name} FOR TABLE {table} WITH ({options})"))
        return
    published = {one.schema: set(one.columns) for one in connection.execute(_PUBLISHED, {"name": name})}
    schema = events_schema(connection)
    if row.puballtables or (published and schema not in published):
        # Changing it would remove the table of another installation, whose topic would then get no events.
        of = "all tables" if row.puballtables else f"the events of schema {', '.join(sorted(published))}"
        raise SlotUnusable(
            f"publication {name} is of {of}, not of schema {schema}: set RIDELOG_PUBLICATION_NAME to another name"
        )
    if not row.options:
        connection.execute(text(f"ALTER PUBLICATION {name} SET ({options})"))
    if published.get(schema) != set(COLUMNS):
        connection.execute(text(f"ALTER PUBLICATION {name} SET TABLE {table}"))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise SlotUnusable(f"slot and publication names have 1 to 63 of a–z, 0–9 and _; not {name!r}")
