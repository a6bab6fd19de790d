"""Creates range partitions of ``events`` by position before they are needed, so that a writer never waits for one."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

from sqlalchemy import Connection, exc, text

from infrastructure.postgres.engine import is_lock_timeout

log = logging.getLogger("ridelog.postgres")

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
_SHORT_LOCKS = text("SELECT set_config('lock_timeout', :timeout, true)")

AHEAD_LOCK_TIMEOUT = "200ms"
"""How long an append waits for the locks of a partition that is not needed yet."""
RETRY_INTERVAL_S = 5.0
"""Seconds between two attempts to create it. Both bound what another lock on ``events`` costs the appends."""


def partition_name(first_position: int) -> str:
    return f"events_p{first_position:020d}"


def end_of_partitions(connection: Connection) -> int:
    """Returns the first position that no partition covers; 1 if there is no partition yet."""
    name = connection.execute(_LAST).scalar_one()
    if name is None:
        return 1
    return int(connection.execute(_BOUND, {"name": name}).scalar_one())


def ensure_partitions(connection: Connection, up_to: int, rows: int) -> int:
    """Creates partitions of ``rows`` positions until one covers ``up_to``. Returns the new end.

    A new partition is created as a separate table and then attached: ATTACH does not block inserts, while CREATE …
    PARTITION OF does. An advisory lock allows one creator at a time. May run inside a transaction that holds the log's
    lock.
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
    # DDL takes no parameters. The text contains only integers and a name that is built from one.
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


class PartitionsAhead:
    """The partitions as one writer knows them. Creates the next one when the last is half full. Thread-safe."""

    def __init__(self, rows: int, clock: Callable[[], float] = time.monotonic) -> None:
        """``rows``: positions of a partition. ``clock``: monotonic seconds."""
        self._rows = rows
        self._clock = clock
        self._end = 0
        self._next_attempt = 0.0

    def make_ahead(self, connection: Connection, last: int) -> None:
        """Creates the next partition before ``last`` needs it, in a transaction without the log's lock.

        If the table's lock is not available (a manual VACUUM or ANALYZE holds it), logs that and retries later. This
        must not block an append while the last partition has room. Without room, ``cover`` waits for the lock.
        """
        needed = last + self._rows // 2
        if needed < self._end or self._clock() < self._next_attempt:
            return
        try:
            with connection.begin():
                connection.execute(_SHORT_LOCKS, {"timeout": AHEAD_LOCK_TIMEOUT})
                end = ensure_partitions(connection, needed, self._rows)
        except exc.DBAPIError as error:
            if not is_lock_timeout(error.orig):
                raise
            self._next_attempt = self._clock() + RETRY_INTERVAL_S
            log.warning(
                "the next partition of events is not created yet: another transaction holds the lock of the table;"
                " appends continue, next attempt in %.0f s",
                RETRY_INTERVAL_S,
            )
            return
        # After the commit: another thread must not rely on a partition that it cannot see yet, or that is rolled back.
        self.committed(end)

    def cover(self, connection: Connection, last: int) -> int:
        """Creates the partitions that ``last`` needs now. The caller holds the log's lock.

        Returns the end of the partitions, valid once this is committed; 0 if nothing was created.
        """
        return 0 if last < self._end else ensure_partitions(connection, last, self._rows)

    def committed(self, end: int) -> None:
        """Notes that partitions up to ``end`` are committed."""
        self._end = max(self._end, end)

    def forget(self) -> None:
        """Forgets the known end, so that the next append reads it from the server."""
        self._end = 0
