"""Decides which messages of the WAL stream belong to this log; the others are skipped with one warning."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from infrastructure.cdc.heartbeat import ForeignHeartbeat, Heartbeat, parse_heartbeat
from infrastructure.cdc.pgoutput import LogicalMessage, ProtocolError, Relation
from infrastructure.cdc.row_to_record import RowReader, row_reader
from infrastructure.observability.throttled_log import ThrottledLogger

log = logging.getLogger("ridelog.tailer")

WARNING_INTERVAL_S = 3_600.0
"""At most one warning of a kind in this time: another installation in the database sends a heartbeat every 2 s."""
TABLE = "events"


class LogIdentity(NamedTuple):
    """``log_id`` of the log, and the schema whose table ``events`` holds it."""

    log_id: UUID
    schema: str


class ForeignRelation(NamedTuple):
    """Rows that are skipped: ``what`` they are, and the ``kind`` of the warning."""

    kind: str
    what: str


class WalFilter:
    """Separates the messages of this log from those of other writers (invariant 16).

    Any role of the database can write into the stream: by ``pg_logical_emit_message`` or, if it owns the publication,
    by adding a table. Nothing of that may end the tailer or reach a topic.
    """

    def __init__(self, own_log: LogIdentity, topics: Mapping[str, str], partitions: int) -> None:
        self._own_log = own_log
        self._topics = topics
        self._partitions = partitions
        self._warnings = ThrottledLogger(
            log, "the WAL has messages that are not of this log, they are skipped", interval_s=WARNING_INTERVAL_S
        )

    def heartbeat(self, message: LogicalMessage) -> Heartbeat | None:
        """Parse a heartbeat of this log. Returns None for any other message."""
        try:
            return parse_heartbeat(message, self._own_log.log_id)
        except ForeignHeartbeat as error:
            self.skip(f"heartbeat {error}", f"a heartbeat that is {error}, {len(message.content):,} bytes")
            return None

    def reader(self, relation: Relation, *, strict: bool) -> RowReader | ForeignRelation:
        """A reader for the rows of a relation, or ForeignRelation if they are skipped, as those of other tables are.

        The server also describes the partition of each row of our table, and sends no row under its name. Rows of our
        table with other columns are skipped too: the publication was changed for a while. The next event or heartbeat
        reveals the gap, and it is filled from the table. Where ``strict``, other columns raise ProtocolError.
        """
        if (relation.schema, relation.table) != (self._own_log.schema, TABLE):
            return ForeignRelation(
                "table", f"rows of the table {_printable(relation.schema)}.{_printable(relation.table)}"
            )
        try:
            return row_reader(relation, self._topics, self._partitions)
        except ProtocolError:
            if strict:
                raise
            return ForeignRelation("columns", "rows of events with other columns; these events are read from the table")

    def skip(self, kind: str, what: str) -> None:
        """Warn that ``what`` was skipped, once per WARNING_INTERVAL_S for each ``kind``."""
        self._warnings.warn(kind, what)


def _printable(name: str) -> str:
    """A name chosen by another role, safe in a log line."""
    return ascii(name)[1:-1][:80]
