"""What clients set for one subject or for all: the compatibility level, and whether anything may be written."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from sqlalchemy import Connection, Engine, delete, select
from sqlalchemy.dialects.postgresql import insert

from infrastructure.postgres.schema import schema_settings
from infrastructure.schema_registry.compatibility import DEFAULT, Level
from infrastructure.schema_registry.errors import read_only
from infrastructure.schema_registry.queries import lock

EVERYWHERE = ""
"""The subject under which the settings for all are kept; no path names an empty one."""

Name = Literal["compatibility", "mode"]


class Mode(StrEnum):
    """READONLY: versions are read, not registered and not deleted."""

    READWRITE = "READWRITE"
    READONLY = "READONLY"


def level_in_force(connection: Connection, subject: str) -> Level:
    """The subject's own level, else that for all."""
    own = _read(connection, "compatibility", subject) or _read(connection, "compatibility", EVERYWHERE)
    return Level(own or DEFAULT)


def refuse_read_only(connection: Connection, subject: str) -> None:
    """Raises Refused 42205 where the mode is READONLY."""
    own = _read(connection, "mode", subject) or _read(connection, "mode", EVERYWHERE)
    if own == Mode.READONLY:
        raise read_only(subject)


def forget(connection: Connection, subject: str) -> None:
    """Drop what is set for a subject of which nothing is left."""
    connection.execute(delete(schema_settings).where(schema_settings.c.subject == subject))


class SubjectSettings:
    """The settings, each in a transaction of its own; ``subject`` is EVERYWHERE for those of all."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, name: Name, subject: str) -> str | None:
        """What is set for this very subject, None for nothing."""
        with self._engine.connect() as connection:
            return _read(connection, name, subject)

    def put(self, name: Name, subject: str, value: str | None) -> str | None:
        """Set it, or with None go back to that for all; what was set before.

        Raises Refused 42205 for a level where the mode is READONLY; the mode itself can always be set.
        """
        with self._engine.begin() as connection:
            lock(connection)
            if name == "compatibility":
                refuse_read_only(connection, subject)
            before = _read(connection, name, subject)
            if value != before:
                row = insert(schema_settings).values({"subject": subject, name: value})
                connection.execute(row.on_conflict_do_update(index_elements=["subject"], set_={name: value}))
            return before


def _read(connection: Connection, name: Name, subject: str) -> str | None:
    query = select(schema_settings.c[name]).where(schema_settings.c.subject == subject)
    return connection.execute(query).scalar_one_or_none()
