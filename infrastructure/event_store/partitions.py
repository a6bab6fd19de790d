"""Range partitions of ``events`` by position, made ahead of need so that a writer never waits for one."""

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
"""Seconds between two attempts to make it. Together they bound what a foreign lock on ``events`` costs the appends."""


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


class PartitionsAhead:
    """The partitions of one writer: makes the next one when half of the last is full. Safe to share between threads."""

    def __init__(self, rows: int, clock: Callable[[], float] = time.monotonic) -> None:
        """``rows``: positions of a partition. ``clock``: seconds, monotonic."""
        self._rows = rows
        self._clock = clock
        self._end = 0
        self._next_attempt = 0.0

    def make_ahead(self, connection: Connection, last: int) -> None:
        """Outside the log's lock, in a transaction of its own: make the next partition before ``last`` needs it.

        A lock that does not come (a VACUUM or an ANALYZE by hand holds it) is logged, and tried again later. It must
        not stop an append while the last partition has room; where it has none, ``cover`` waits for the lock.
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
                "the next partition of events is not made yet, another transaction holds the lock of the table;"
                " appends go on, and it is tried again in %.0f s",
                RETRY_INTERVAL_S,
            )
            return
        # Committed first: another thread must not count on a partition that it cannot see, and that may never be.
        self.committed(end)

    def cover(self, connection: Connection, last: int) -> int:
        """Inside the log's lock: make what ``last`` needs now. Where the partitions end, once this is committed;
        0 if they are not touched."""
        return 0 if last < self._end else ensure_partitions(connection, last, self._rows)

    def committed(self, end: int) -> None:
        """The partitions end at ``end`` now."""
        self._end = max(self._end, end)

    def forget(self) -> None:
        """Ask the server next time."""
        self._end = 0
