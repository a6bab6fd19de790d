"""The embedded schema registry: subjects, versions and ids in Postgres."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, func, insert, select, text

from infrastructure.registry.canonical import fingerprint
from infrastructure.registry.compatibility import backward_problems, parse
from infrastructure.registry.tables import schema_versions, schemas


class Registered(NamedTuple):
    """One version of a subject."""

    subject: str
    version: int
    schema_id: int
    schema: str


class Incompatible(Exception):
    """A new version could not read what an older one wrote."""


_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('ridelog.registry', 0))")
_ALL = (
    select(schema_versions.c.subject, schema_versions.c.version, schemas.c.id, schemas.c.schema)
    .join(schemas, schemas.c.id == schema_versions.c.schema_id)
    .order_by(schema_versions.c.subject, schema_versions.c.version)
)


class RegistryStore:
    """Registration is serialised by an advisory lock: processes that start at once get the same ids."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def register(self, subject: str, schema: str) -> Registered:
        """The version of ``subject`` with this schema, made if need be.

        Raises InvalidSchema, or Incompatible when it cannot read the subject's latest version (BACKWARD).
        """
        parse(schema)
        with self._engine.begin() as connection:
            connection.execute(_LOCK)
            existing = self._find(connection, subject, schema)
            if existing is not None:
                return existing
            known = self._versions(connection, subject)
            if known:
                problems = backward_problems(schema, known[-1].schema)
                if problems:
                    raise Incompatible(f"{subject} version {known[-1].version}: {'; '.join(problems)}")
            schema_id = self._id_of(connection, schema)
            version = known[-1].version + 1 if known else 1
            connection.execute(insert(schema_versions).values(subject=subject, version=version, schema_id=schema_id))
            return Registered(subject, version, schema_id, schema)

    def find(self, subject: str, schema: str) -> Registered | None:
        """The version of ``subject`` that has this very schema. Raises InvalidSchema."""
        parse(schema)
        with self._engine.connect() as connection:
            return self._find(connection, subject, schema)

    def versions(self, subject: str) -> list[Registered]:
        """All versions, oldest first; empty for an unknown subject."""
        with self._engine.connect() as connection:
            return self._versions(connection, subject)

    def subjects(self) -> list[str]:
        query = select(schema_versions.c.subject).distinct().order_by(schema_versions.c.subject)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def schema(self, schema_id: int) -> str | None:
        with self._engine.connect() as connection:
            return connection.execute(select(schemas.c.schema).where(schemas.c.id == schema_id)).scalar_one_or_none()

    def uses(self, schema_id: int) -> list[Registered]:
        """Where a schema is registered."""
        with self._engine.connect() as connection:
            return _rows(connection.execute(_ALL.where(schemas.c.id == schema_id)))

    def problems(self, subject: str, schema: str, version: int | None = None) -> list[str]:
        """Why ``schema`` cannot follow a version (None = the latest) of ``subject``. Raises InvalidSchema."""
        parse(schema)
        known = self.versions(subject)
        against = known[-1:] if version is None else [v for v in known if v.version == version]
        return [problem for old in against for problem in backward_problems(schema, old.schema)]

    def _versions(self, connection: Connection, subject: str) -> list[Registered]:
        return _rows(connection.execute(_ALL.where(schema_versions.c.subject == subject)))

    def _find(self, connection: Connection, subject: str, schema: str) -> Registered | None:
        mark = fingerprint(schema)
        found = _rows(
            connection.execute(_ALL.where(schema_versions.c.subject == subject, schemas.c.fingerprint == mark))
        )
        return found[0] if found else None

    def _id_of(self, connection: Connection, schema: str) -> int:
        mark = fingerprint(schema)
        existing = connection.execute(select(schemas.c.id).where(schemas.c.fingerprint == mark)).scalar_one_or_none()
        if existing is not None:
            return int(existing)
        # Counted under the lock, not drawn from a sequence: a refused registration leaves no hole.
        next_id = connection.execute(select(func.coalesce(func.max(schemas.c.id), 0) + 1)).scalar_one()
        connection.execute(insert(schemas).values(id=next_id, fingerprint=mark, schema=schema))
        return int(next_id)


def _rows(result: Any) -> list[Registered]:
    return [Registered(*row) for row in result]
