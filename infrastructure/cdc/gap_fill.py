"""Reads events by position from the table: those that the WAL missed, and all of them for the polling relay."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from sqlalchemy import Engine

from infrastructure.cdc.in_flight import InFlightTransactions
from infrastructure.cdc.row_to_record import converter
from infrastructure.event_store.log_head import read_head
from infrastructure.kafka.ports import ProducerRecord

log = logging.getLogger("ridelog.tailer")

MAX_CHUNK_ROWS = 2_000
"""Events read and published as one batch; the checkpoint advances by at most this many."""

# The format of the WAL's rows: text, in the order of row_to_record.COLUMNS. Sorted by events.position, because the text
# in the select list has the same name.
_READ = (
    "SELECT position::text, stream, shard::text, seq::text, version::text, aggregate_key, event_type, event_id::text,"
    " '\\x' || encode(payload, 'hex'), (extract(epoch FROM recorded_at) * 1000)::bigint FROM events"
    " WHERE position > %s AND position <= %s ORDER BY events.position LIMIT %s"
)


class EventChunk(NamedTuple):
    """``rows`` events in order up to position ``last``.

    ``records``: those to publish. ``recorded_ms``: when the last event was recorded, epoch milliseconds.
    """

    records: list[ProducerRecord]
    rows: int
    last: int
    recorded_ms: int


class EventSource(Protocol):
    """The part of the table that a relay uses."""

    def read(self, after: int, upto: int) -> EventChunk | None:
        """The next events of (``after``, ``upto``], at most MAX_CHUNK_ROWS; None if there are none."""
        ...

    def head_position(self) -> int:
        """The last position that the log has assigned."""
        ...


class EventsTable:
    """``EventSource`` in Postgres.

    Committed events have no gaps: a writer releases the log's lock only after its events are visible.
    """

    def __init__(self, engine: Engine, topics: Mapping[str, str], partitions: int) -> None:
        self._engine = engine
        self._convert = converter(topics, partitions)

    def read(self, after: int, upto: int) -> EventChunk | None:
        """Raises SQLAlchemyError."""
        with self._engine.connect() as connection:
            rows = connection.exec_driver_sql(_READ, (after, upto, MAX_CHUNK_ROWS)).cursor.fetchall()
        if not rows:
            return None
        converted = (self._convert([value.encode() for value in row[:9]]) for row in rows)
        records = [record for record in converted if record is not None]
        return EventChunk(records, len(rows), int(rows[-1][0]), int(rows[-1][9]))

    def head_position(self) -> int:
        """Raises SQLAlchemyError, LogNotInitialised."""
        with self._engine.connect() as connection:
            return read_head(connection).position


def publish_range(events: EventSource, transactions: InFlightTransactions, after: int, upto: int) -> int:
    """Hand the next events of (``after``, ``upto``] to ``transactions``.

    Returns the last position handed over, ``after`` if there are none.
    """
    chunk = events.read(after, upto)
    if chunk is None:
        return after
    if chunk.rows != chunk.last - after:
        log_missing(after + 1, chunk.last, chunk.rows)
    transactions.open(chunk.recorded_ms)
    transactions.add(chunk.records, chunk.rows, chunk.last)
    transactions.close()
    transactions.progress.skipped += chunk.rows - len(chunk.records)
    return chunk.last


def log_missing(first: int, last: int, found: int = 0) -> None:
    """Log missing positions. Only detached partitions lack events, so waiting would hold up the rest for nothing."""
    log.error(
        "of positions %d to %d only %d are in the table events (its old partitions were detached): the topic continues "
        "without the others; attach the partitions and publish to a new topic if its readers need them",
        first,
        last,
        found,
    )
