"""The publication and the replication slot that the tailer reads from; made here, never dropped here."""

from __future__ import annotations

import re
from typing import NamedTuple

from sqlalchemy import Connection, Engine, text

from infrastructure.cdc.rows import COLUMNS

_NAME = re.compile(r"[a-z0-9_]{1,63}")

_SLOT = text(
    "SELECT active, confirmed_flush_lsn, wal_status, safe_wal_size,"
    " pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint AS retained_bytes,"
    " pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint AS behind_bytes"
    " FROM pg_replication_slots WHERE slot_name = :slot AND database = current_database()"
)
_PUBLISHED = text(
    "SELECT p.pubinsert AND NOT p.pubupdate AND NOT p.pubdelete AND NOT p.pubtruncate AND p.pubviaroot AS options,"
    " t.attnames::text[] AS columns FROM pg_publication p"
    " LEFT JOIN pg_publication_tables t ON t.pubname = p.pubname AND t.tablename = 'events'"
    " WHERE p.pubname = :name"
)


class SlotUnusable(Exception):
    """The slot or the server cannot be used; the message says what to do."""


class SlotState(NamedTuple):
    """``behind_bytes`` of WAL are not confirmed yet; ``retained_bytes`` are kept on the server's disk for this slot."""

    active: bool
    confirmed_lsn: str
    wal_status: str
    safe_wal_size: int | None
    retained_bytes: int
    behind_bytes: int


def slot_state(connection: Connection, slot: str) -> SlotState | None:
    row = connection.execute(_SLOT, {"slot": slot}).one_or_none()
    if row is None:
        return None
    return SlotState(
        row.active,
        str(row.confirmed_flush_lsn),
        row.wal_status or "unknown",
        row.safe_wal_size,
        int(row.retained_bytes or 0),
        int(row.behind_bytes or 0),
    )


def ensure_publication_and_slot(engine: Engine, publication: str, slot: str) -> bool:
    """Make what is missing; whether the slot was made now, so that the topic lacks what was recorded before.

    Raises SlotUnusable when the server has no logical replication or the slot lost its WAL.
    """
    _check_name(publication)
    _check_name(slot)
    with engine.begin() as connection:
        level = connection.execute(text("SHOW wal_level")).scalar_one()
        if level != "logical":
            raise SlotUnusable(f"Postgres has wal_level={level}: set wal_level=logical and restart it")
        _ensure_publication(connection, publication)
    with engine.begin() as connection:
        state = slot_state(connection, slot)
        if state is None:
            connection.execute(text("SELECT pg_create_logical_replication_slot(:slot, 'pgoutput')"), {"slot": slot})
            return True
        if state.wal_status == "lost":
            raise SlotUnusable(
                f"replication slot {slot} lost its WAL (max_slot_wal_keep_size): drop it with "
                f"pg_drop_replication_slot('{slot}') and start the tailer again; projections fill the gap from the "
                "event store"
            )
    return False


def _ensure_publication(connection: Connection, name: str) -> None:
    row = connection.execute(_PUBLISHED, {"name": name}).one_or_none()
    # Names are checked above and columns are constants: nothing of a user gets into this DDL.
    table = f"events ({', '.join(COLUMNS)})"
    options = "publish = 'insert', publish_via_partition_root = true"
    if row is None:
        connection.execute(text(f"CREATE PUBLICATION {name} FOR TABLE {table} WITH ({options})"))
        return
    if not row.options:
        connection.execute(text(f"ALTER PUBLICATION {name} SET ({options})"))
    if row.columns is None or set(row.columns) != set(COLUMNS):
        connection.execute(text(f"ALTER PUBLICATION {name} SET TABLE {table}"))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise SlotUnusable(f"slot and publication names have 1 to 63 of a–z, 0–9 and _; not {name!r}")
