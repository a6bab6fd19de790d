"""Settings of one subject or of all: the compatibility level and the mode (whether writes are allowed)."""

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
"""The subject of the settings for all subjects. No path can name an empty subject."""

Name = Literal["compatibility", "mode"]


class Mode(StrEnum):
    """READONLY: versions can be read, but not registered or deleted."""

    READWRITE = "READWRITE"
    READONLY = "READONLY"


def level_in_force(connection: Connection, subject: str) -> Level:
    """Returns the subject's own level, else the level for all."""
    own = _read(connection, "compatibility", subject) or _read(connection, "compatibility", EVERYWHERE)
    return Level(own or DEFAULT)


def refuse_read_only(connection: Connection, subject: str) -> None:
    """Raises RegistryRefusal 42205 if the mode is READONLY."""
    own = _read(connection, "mode", subject) or _read(connection, "mode", EVERYWHERE)
    if own == Mode.READONLY:
        raise read_only(subject)


def forget(connection: Connection, subject: str) -> None:
    """Deletes the settings of a subject that has no versions any more."""
    connection.execute(delete(schema_settings).where(schema_settings.c.subject == subject))


class SubjectSettings:
    """Reads and writes settings, each in its own transaction. ``subject`` EVERYWHERE means the settings for all."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, name: Name, subject: str) -> str | None:
        """Returns the subject's own value, None if it has none."""
        with self._engine.connect() as connection:
            return _read(connection, name, subject)

    def put(self, name: Name, subject: str, value: str | None) -> str | None:
        """Sets a value; None removes it, so that the value for all applies. Returns the previous value.

        Raises RegistryRefusal 42205 for a level if the mode is READONLY. The mode itself can always be set.
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
