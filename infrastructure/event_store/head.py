"""The lock of the log: one row that is read ``FOR UPDATE`` and written back in the same transaction (invariant 1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, update
from sqlalchemy.engine import Row
from sqlalchemy.sql import Select, select

from domain.identifiers import SHARDS
from domain.timestamps import epoch_ms, utc_datetime
from infrastructure.event_store.tables import log_head

Clock = Callable[[], int]
"""Epoch milliseconds; a port, so that tests can step a writer's clock without touching the machine's."""

_COLUMNS: Select[Any] = select(log_head.c.log_id, log_head.c.position, log_head.c.recorded_at, log_head.c.seqs)


class LogNotInitialised(Exception):
    """The database has no log head: its migrations have not run."""


@dataclass
class Head:
    """Last numbers given out. ``seqs`` maps a stream to the last seq of each of its 64 shards."""

    log_id: UUID
    position: int
    recorded_at_ms: int
    seqs: dict[str, list[int]]

    def shards_of(self, stream: str) -> list[int]:
        return self.seqs.setdefault(stream, [0] * SHARDS)


def _head(row: Row[Any] | None) -> Head:
    if row is None:
        raise LogNotInitialised("table log_head is empty: run `python app.py migrate`")
    return Head(row.log_id, row.position, epoch_ms(row.recorded_at), row.seqs)


def read_head(connection: Connection) -> Head:
    """The head as last committed; without the lock it may be stale by the time it is looked at."""
    return _head(connection.execute(_COLUMNS).one_or_none())


def lock_head(connection: Connection) -> Head:
    """Wait for the log's lock and hold it until this transaction ends."""
    return _head(connection.execute(_COLUMNS.with_for_update()).one_or_none())


def write_head(connection: Connection, head: Head) -> None:
    """Store the numbers given out, in the transaction that holds the lock: a rollback leaves no hole."""
    connection.execute(
        update(log_head).values(
            position=head.position,
            recorded_at=utc_datetime(head.recorded_at_ms),
            seqs=head.seqs,
        )
    )
