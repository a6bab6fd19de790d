"""Range partitions of ``events`` by position, made ahead of need so that a writer never waits for one."""

from __future__ import annotations

import re

from sqlalchemy import Connection, text

_NAME = re.compile(r"events_p(\d{20})")

_LAST = text(
    "SELECT max(c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent = 'events'::regclass"
)
_BOUND = text(
    "SELECT substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \\(''?(\\d+)''?\\)')::bigint"
    " FROM pg_class c WHERE c.oid = CAST(:name AS regclass)"
)
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('ridelog.partitions', 0))")


def partition_name(first_position: int) -> str:
    return f"events_p{first_position:020d}"


def end_of_partitions(connection: Connection) -> int:
    """The first position that no partition takes; 1 when there is none yet."""
    name = connection.execute(_LAST).scalar_one()
    if name is None:
        return 1
    return int(connection.execute(_BOUND, {"name": name}).scalar_one())


def ensure_partitions(connection: Connection, up_to: int, rows: int) -> int:
    """Make partitions of ``rows`` positions until one takes ``up_to``; the new end.

    A new partition is built aside and attached: ATTACH lets inserts go on, where CREATE … PARTITION OF would stop
    them. One maker at a time, by an advisory lock; it may run inside a transaction that holds the log's lock.
    """
    end = end_of_partitions(connection)
    if end > up_to:
        return end
    connection.execute(_LOCK)
    end = end_of_partitions(connection)
    while end <= up_to:
        _make(connection, end, end + rows)
        end += rows
    return end


def _make(connection: Connection, first: int, end: int) -> None:
    # DDL takes no parameters; all that goes into it are integers and a name made of one.
    name = partition_name(first)
    if not _NAME.fullmatch(name):
        raise ValueError(f"no partition name: {name}")
    for statement in (
        f"CREATE TABLE {name} (LIKE events INCLUDING DEFAULTS)",
        f"ALTER TABLE {name} ADD CONSTRAINT {name}_range CHECK (position >= {first} AND position < {end})",
        f"CREATE UNIQUE INDEX {name}_version ON {name} (aggregate_id, version)",
        f"CREATE UNIQUE INDEX {name}_seq ON {name} (stream, shard, seq)",
        f"ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({end})",
        f"ALTER TABLE {name} DROP CONSTRAINT {name}_range",
    ):
        connection.execute(text(statement))
