"""The SQL statements that several parts of the embedded registry share."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Select, select, text

from infrastructure.postgres.schema import schema_versions, schemas

Show = Literal["live", "all", "deleted"]
"""Which versions to return: those not soft-deleted, all, or only the soft-deleted ones."""


class RegisteredSchema(NamedTuple):
    """One version of a subject."""

    subject: str
    version: int
    schema_id: int
    schema: str
    deleted: bool = False


_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('ridelog.registry', 0))")


def lock(connection: Connection) -> None:
    """Takes the lock of all writers of the registry, in any process, until this transaction ends."""
    connection.execute(_LOCK)


def versions_of(connection: Connection, subject: str, show: Show = "live") -> list[RegisteredSchema]:
    """Returns the versions of a subject, oldest first; empty for an unknown subject."""
    return _rows(connection, _shown(show).where(schema_versions.c.subject == subject))


def version_with(connection: Connection, subject: str, digest: str, show: Show = "live") -> RegisteredSchema | None:
    """Returns the newest version of ``subject`` whose schema has the fingerprint ``digest``, if any."""
    same = schemas.c.fingerprint == digest
    found = _rows(connection, _shown(show).where(schema_versions.c.subject == subject, same))
    return found[-1] if found else None


def uses_of(connection: Connection, schema_id: int, show: Show = "live") -> list[RegisteredSchema]:
    """Returns where a schema is registered, by subject and version."""
    return _rows(connection, _shown(show).where(schemas.c.id == schema_id))


def all_versions(connection: Connection, show: Show = "live") -> list[RegisteredSchema]:
    """Returns the versions of all subjects, by subject and version."""
    return _rows(connection, _shown(show))


def _shown(show: Show) -> Select[Any]:
    query = (
        select(schema_versions.c.subject, schema_versions.c.version, schemas.c.id, schemas.c.schema)
        .add_columns(schema_versions.c.deleted)
        .join(schemas, schemas.c.id == schema_versions.c.schema_id)
        .order_by(schema_versions.c.subject, schema_versions.c.version)
    )
    return query if show == "all" else query.where(schema_versions.c.deleted.is_(show == "deleted"))


def _rows(connection: Connection, query: Select[Any]) -> list[RegisteredSchema]:
    return [RegisteredSchema(*row) for row in connection.execute(query)]
