"""Stores how far the relay has published, at most once a second, with the ids of its log and topics.

Only the saved LSN may be confirmed to the slot. Each save inserts a row; the newest row of a relay is its checkpoint. A
single row that is updated every second would become slower to find with each second that any transaction stays open.
Older rows are pruned in ranges of ``number``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Engine, TextClause, text
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.event_store.log_head import NEWEST_NUMBERS

STORED_CHECKPOINTS = 64
"""Rows of a relay between two prunings; each pruning deletes as many."""
MAX_ATTEMPTS = 10
"""Saves that may fail because another process saves the checkpoint of the same relay at the same time."""

_NEWEST = (
    "SELECT log_id, position, confirmed_lsn, topics, number FROM relay_marks WHERE name = :name"
    " ORDER BY number DESC LIMIT 1"
)
_READ = text(_NEWEST)
_INSERT = "INSERT INTO relay_marks (name, number, log_id, position, confirmed_lsn, topics)"
# The number follows the checkpoint that this one was computed from. Of two concurrent saves, one inserts no row.
_UNLESS_TAKEN = " ON CONFLICT DO NOTHING RETURNING number"
_RESET = text(
    f"{_INSERT} SELECT CAST(:name AS text), coalesce(m.number, 0) + 1, CAST(:log_id AS uuid),"  # noqa: S608
    " CAST(:position AS bigint), 0, coalesce(m.topics, '{}')"
    f" FROM (SELECT) one LEFT JOIN ({_NEWEST}) m ON true{_UNLESS_TAKEN}"
)
# Only upwards: a zombie's checkpoint is true of Kafka too, but never newer than that of its successor.
_ADVANCE = text(
    f"{_INSERT} SELECT CAST(:name AS text), coalesce(m.number, 0) + 1, h.log_id,"  # noqa: S608
    " greatest(m.position, CAST(:position AS bigint)), greatest(m.confirmed_lsn, CAST(:lsn AS bigint)),"
    " coalesce(m.topics, '{}')"
    f" FROM log_head h CROSS JOIN LATERAL ({NEWEST_NUMBERS}) n LEFT JOIN ({_NEWEST}) m ON true"
    # A log that ends before the checkpoint is not the one whose events were published: it was restored meanwhile.
    f" WHERE h.log_id = :log_id AND n.position >= :position AND coalesce(m.log_id, h.log_id) = h.log_id{_UNLESS_TAKEN}"
)
_SAVE_TOPIC_IDS = text(
    f"{_INSERT} SELECT :name, m.number + 1, m.log_id, m.position, m.confirmed_lsn, CAST(:topics AS jsonb)"  # noqa: S608
    f" FROM ({_NEWEST}) m{_UNLESS_TAKEN}"
)
_ADVANCE_POSSIBLE = text(
    f"SELECT FROM log_head h CROSS JOIN LATERAL ({NEWEST_NUMBERS}) n LEFT JOIN ({_NEWEST}) m ON true"
    " WHERE h.log_id = :log_id AND n.position >= :position AND coalesce(m.log_id, h.log_id) = h.log_id"
)
_ALWAYS = text("SELECT")
_PRUNE = text("DELETE FROM relay_marks WHERE name = :name AND number > :above AND number <= :upto")


class ForeignLog(Exception):
    """The log in the database is not the one whose events were published; restart the relay."""


class RelayCheckpoint(NamedTuple):
    """Every event up to ``position`` is acknowledged by Kafka.

    ``confirmed_lsn``: no higher LSN was confirmed to the slot. ``topics``: name -> id, if the broker has topic ids.
    """

    log_id: UUID
    position: int
    confirmed_lsn: int
    topics: dict[str, str]


class RelayCheckpointStore:
    """The checkpoint of the relay ``name`` in Postgres.

    Each call is one statement that commits on its own, so that a process that is paused in the middle holds no lock
    that its successor would wait for. Every method raises SQLAlchemyError.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._name = name

    def read(self) -> RelayCheckpoint | None:
        with self._engine.connect() as connection:
            row = connection.execute(_READ, {"name": self._name}).one_or_none()
        return None if row is None else RelayCheckpoint(row.log_id, row.position, row.confirmed_lsn, row.topics)

    def reset(self, log_id: UUID, position: int) -> None:
        """Set the checkpoint unconditionally and clear the LSN: a slot created now may start at any LSN."""
        self._save(_RESET, {"log_id": log_id, "position": position}, _ALWAYS)

    def advance(self, log_id: UUID, position: int, lsn: int) -> None:
        """Move the checkpoint up. Raises ForeignLog if the log was replaced, or ends before ``position``."""
        if not self._save(_ADVANCE, {"log_id": log_id, "position": position, "lsn": lsn}, _ADVANCE_POSSIBLE):
            raise ForeignLog("the log was restored or recreated while the relay ran: it restarts with the present log")

    def save_topic_ids(self, topics: dict[str, str]) -> None:
        """Save name -> topic id. No effect while there is no checkpoint."""
        self._save(_SAVE_TOPIC_IDS, {"topics": msgspec.json.encode(topics).decode()}, _READ)

    def _save(self, statement: TextClause, values: Mapping[str, Any], possible: TextClause) -> bool:
        """Insert the next row. Returns False if that is not possible: then ``possible`` selects no row."""
        named = {"name": self._name, **values}
        with self._engine.connect() as connection:
            for _ in range(MAX_ATTEMPTS):
                number = connection.execute(statement, named).scalar_one_or_none()
                if number is not None:
                    if number % STORED_CHECKPOINTS == 0:
                        upto = number - STORED_CHECKPOINTS
                        connection.execute(
                            _PRUNE, {"name": self._name, "above": upto - STORED_CHECKPOINTS, "upto": upto}
                        )
                    return True
                if connection.execute(possible, named).first() is None:
                    return False
        raise SQLAlchemyError(f"other processes keep saving the checkpoint of {self._name}")


class CheckpointSaver:
    """Saves the relay checkpoint at most once per ``interval_s`` seconds, and only if it or the LSN changed.

    ``save`` stores a position and an LSN.
    """

    def __init__(
        self, save: Callable[[int, int], None], interval_s: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._save = save
        self._interval_s = interval_s
        self._clock = clock
        self._next_save = 0.0
        self._saved = (-1, 0)

    def save_if_due(self, position: int | None, lsn: int) -> int:
        """Save the checkpoint if it changed and the interval has passed.

        Returns the LSN of the last saved checkpoint. Only that LSN may be confirmed to the slot: a crash resumes from
        the saved checkpoint, and the slot must still hold everything after it. While the position is None (unknown),
        nothing is saved, so nothing new is confirmed either.
        """
        now = self._clock()
        if position is not None and now >= self._next_save and (position, lsn) != self._saved:
            self._save(position, lsn)
            self._next_save, self._saved = now + self._interval_s, (position, lsn)
        return self._saved[1]
