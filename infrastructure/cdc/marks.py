"""The mark in Postgres: how far the topics are published, and by what it is known again."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from infrastructure.event_store.tables import relay_marks

c = relay_marks.c

# Only upwards: the mark of a zombie is a fact about Kafka, and no newer than that of its successor.
_KEEP = text(
    "INSERT INTO relay_marks AS m (name, log_id, position, confirmed_lsn)"
    " SELECT CAST(:name AS text), log_id, CAST(:position AS bigint), CAST(:lsn AS bigint) FROM log_head"
    # A log that ends before the mark is not the one whose events were published: it was restored beneath the relay.
    " WHERE log_id = :log_id AND position >= :position"
    " ON CONFLICT (name) DO UPDATE SET position = greatest(m.position, excluded.position),"
    " confirmed_lsn = greatest(m.confirmed_lsn, excluded.confirmed_lsn), marked_at = now()"
    " WHERE m.log_id = excluded.log_id"
)


class AnotherLog(Exception):
    """The log in the database is not the one whose events were published; begin anew."""


class Mark(NamedTuple):
    """Every event up to ``position`` is acknowledged by Kafka. ``confirmed_lsn``: the slot was told no more than this.

    ``topics``: name -> id, of brokers that give ids.
    """

    log_id: UUID
    position: int
    confirmed_lsn: int
    topics: dict[str, str]


class Marks:
    """Of the relay ``name``. Each call is one statement and commits by itself, so that a process that is stopped in
    the middle holds no lock that its successor would wait for. Raises SQLAlchemyError."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._name = name

    def read(self) -> Mark | None:
        query = select(c.log_id, c.position, c.confirmed_lsn, c.topics).where(c.name == self._name)
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Mark(*row)

    def begin(self, log_id: UUID, position: int) -> None:
        """Set the mark whatever it was, and forget the LSN: a slot that is made now stands anywhere."""
        values = {"log_id": log_id, "position": position, "confirmed_lsn": 0, "marked_at": func.now()}
        with self._engine.connect() as connection:
            connection.execute(
                insert(relay_marks)
                .values(name=self._name, **values)
                .on_conflict_do_update(index_elements=["name"], set_=values)
            )

    def keep(self, log_id: UUID, position: int, lsn: int) -> None:
        """Move the mark of this log up. Raises AnotherLog if the log is another one by now, or ends before."""
        values = {"name": self._name, "log_id": log_id, "position": position, "lsn": lsn}
        with self._engine.connect() as connection:
            if connection.execute(_KEEP, values).rowcount == 0:
                raise AnotherLog("the log was restored or made anew beneath the relay: it begins by what is there now")

    def note_topics(self, topics: dict[str, str]) -> None:
        with self._engine.connect() as connection:
            connection.execute(update(relay_marks).where(c.name == self._name).values(topics=topics))
