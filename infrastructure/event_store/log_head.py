"""The head of the log: its lock, and the last assigned numbers (invariant 1).

The row of ``log_head`` is the lock. It is never updated. The numbers are rows of ``log_numbers``: each transaction that
assigns numbers inserts the next row, and the newest row is the head. A single row that every append updates would
become slower with every commit while any transaction stays open, since readers and writers skip all its dead versions.
The newest row is always the last entry of the primary key, however many dead entries precede it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, text
from sqlalchemy.engine import Row

from domain.identifiers import SHARDS

Clock = Callable[[], int]
"""Returns epoch milliseconds. A parameter, so that tests can move one writer's clock only."""

LOCK_HEAD = "SELECT FROM log_head FOR UPDATE"
"""Takes the log's lock until the transaction ends."""

NEWEST_NUMBERS = "SELECT * FROM log_numbers ORDER BY number DESC LIMIT 1"

_READ = (
    "SELECT h.log_id, n.number, n.position, (extract(epoch FROM n.recorded_at) * 1000)::bigint AS recorded_at_ms,"  # noqa: S608
    " n.seqs::text AS seqs, (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS database_ms"
    f" FROM log_head h CROSS JOIN LATERAL ({NEWEST_NUMBERS}) n"
)
_READ_HEAD = text(_READ)
# Two statements in one round trip. The second one has a snapshot of its own, taken after the lock.
_LOCK_AND_READ = text(f"{LOCK_HEAD}; {_READ}")
_WRITE = (
    "INSERT INTO log_numbers (number, position, recorded_at, seqs) VALUES"
    " (:number, :position, timestamptz 'epoch' + :ms * interval '1 millisecond', CAST(:seqs AS jsonb))"
)
_WRITE_HEAD = text(_WRITE)
_WRITE_AND_PRUNE = text(f"{_WRITE}; DELETE FROM log_numbers WHERE number > :above AND number <= :upto")  # noqa: S608

KEPT_NUMBERS = 256
"""Rows of ``log_numbers`` between two prunings. A pruning deletes as many rows, so it is always short."""


class LogNotInitialised(Exception):
    """The database has no log head: its migrations have not run."""


@dataclass
class LogHeadRow:
    """The last assigned numbers. ``seqs`` maps a stream to the last seq of each of its 64 shards.

    ``number`` counts the transactions that have moved the head. ``database_ms``: the database's clock when the head
    was read, epoch milliseconds; 0 = unknown.
    """

    log_id: UUID
    position: int
    recorded_at_ms: int
    seqs: dict[str, list[int]]
    number: int = 0
    database_ms: int = 0

    def shards_of(self, stream: str) -> list[int]:
        return self.seqs.setdefault(stream, [0] * SHARDS)

    @property
    def clock_ahead_ms(self) -> int:
        """How far the time of the last event is ahead of the database's clock, in milliseconds; 0 if it is not."""
        return max(0, self.recorded_at_ms - self.database_ms) if self.database_ms else 0


def _head(row: Row[Any] | None) -> LogHeadRow:
    if row is None:
        raise LogNotInitialised("table log_head or log_numbers is empty: run `python app.py migrate`")
    seqs = msgspec.json.decode(row.seqs, type=dict[str, list[int]])
    return LogHeadRow(row.log_id, row.position, row.recorded_at_ms, seqs, row.number, row.database_ms)


def read_head(connection: Connection) -> LogHeadRow:
    """Returns the head as last committed. Without the lock it may be stale by the time it is used.

    Raises LogNotInitialised.
    """
    return _head(connection.execute(_READ_HEAD).one_or_none())


def lock_head(connection: Connection) -> LogHeadRow:
    """Waits for the log's lock and holds it until this transaction ends.

    The transaction must be READ COMMITTED: with an older snapshot the head would be stale. ``write_head`` would then
    fail on the primary key, so no number is assigned twice. Raises LogNotInitialised.
    """
    return _head(connection.execute(_LOCK_AND_READ).one_or_none())


def write_head(connection: Connection, head: LogHeadRow) -> None:
    """Stores the assigned numbers in the transaction that holds the lock, so that a rollback leaves no gap.

    Old rows are pruned by consecutive ranges of ``number``. A search for the oldest row would skip every row that was
    deleted while a transaction is open.
    """
    head.number += 1
    values: dict[str, Any] = {
        "number": head.number,
        "position": head.position,
        "ms": head.recorded_at_ms,
        "seqs": msgspec.json.encode(head.seqs).decode(),
    }
    if head.number % KEPT_NUMBERS:
        connection.execute(_WRITE_HEAD, values)
        return
    upto = head.number - KEPT_NUMBERS
    connection.execute(_WRITE_AND_PRUNE, {**values, "above": upto - KEPT_NUMBERS, "upto": upto})
