"""The embedded schema registry: subjects, versions and ids in Postgres."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from domain.events.contracts import NAMESPACE
from infrastructure.postgres.schema import schema_versions, schemas
from infrastructure.schema_registry.canonical import fingerprint
from infrastructure.schema_registry.check_process import CheckProcess, Examined, shared
from infrastructure.schema_registry.compatibility import DEFAULT, InvalidSchema, Level, StoredSchema, parse
from infrastructure.schema_registry.errors import (
    Incompatible,
    kept_for_ever,
    not_soft_deleted,
    soft_deleted,
    unknown_subject,
    unknown_version,
)
from infrastructure.schema_registry.queries import (
    RegisteredSchema,
    Show,
    all_versions,
    lock,
    uses_of,
    version_with,
    versions_of,
)
from infrastructure.schema_registry.subject_settings import forget, level_in_force, refuse_read_only


def is_contract(subject: str) -> bool:
    """Whether events of the log are written under this subject's schemas (invariant 12)."""
    return subject.startswith(f"{NAMESPACE}.")


class Deletion:
    """Permanent deletion takes numbers of versions away, never a text: its id stays given, and none is reused."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def subject(self, subject: str, *, permanent: bool = False) -> list[int]:
        """The numbers that were deleted. Raises Refused 40401, 40404, 40405 or 42205."""
        with self._engine.begin() as connection:
            known = self._begin(connection, subject)
            live = [one.version for one in known if not one.deleted]
            if not permanent and not live:
                raise soft_deleted(subject)
            self._permit(connection, subject, permanent)
            if permanent and live:
                raise not_soft_deleted(subject)
            gone = [one.version for one in known] if permanent else live
            self._delete(connection, subject, gone, permanent)
            return gone

    def version(self, subject: str, version: int | None, *, permanent: bool = False) -> int:
        """The number that was deleted; None asks for the latest. Raises Refused 40401, 40402, 40406, 40407, 42205."""
        with self._engine.begin() as connection:
            known = self._begin(connection, subject)
            if version is None:
                found = [one for one in known if permanent or not one.deleted][-1:]
            else:
                found = [one for one in known if one.version == version]
            if not found:
                raise unknown_version(version)
            one = found[0]
            if not permanent and one.deleted:
                raise soft_deleted(subject, one.version)
            self._permit(connection, subject, permanent)
            if permanent and not one.deleted:
                raise not_soft_deleted(subject, one.version)
            self._delete(connection, subject, [one.version], permanent)
            return one.version

    @staticmethod
    def _begin(connection: Connection, subject: str) -> list[RegisteredSchema]:
        lock(connection)
        known = versions_of(connection, subject, "all")
        if not known:
            raise unknown_subject(subject)
        return known

    @staticmethod
    def _permit(connection: Connection, subject: str, permanent: bool) -> None:
        if permanent and is_contract(subject):
            raise kept_for_ever(subject)
        refuse_read_only(connection, subject)

    @staticmethod
    def _delete(connection: Connection, subject: str, numbers: Collection[int], permanent: bool) -> None:
        these = (schema_versions.c.subject == subject, schema_versions.c.version.in_(numbers))
        if permanent:
            connection.execute(delete(schema_versions).where(*these))
        else:
            connection.execute(update(schema_versions).where(*these).values(deleted=True))
        if not versions_of(connection, subject):
            forget(connection, subject)


MAX_CHECKS_WITHOUT_LOCK = 2
"""Of one registration. If other versions came in between each time, the next check is made under the lock."""


class _CheckBasis(NamedTuple):
    """What a new version is checked by; while it stays the same, so does the result."""

    level: Level
    known: list[StoredSchema]


class RegistryStore:
    """Registration is serialised by an advisory lock: processes that start at once get the same ids.

    Schemas are checked by ``checks``, in a process of their own, and not under the lock.
    """

    def __init__(self, engine: Engine, checks: CheckProcess | None = None) -> None:
        self.engine = engine
        self._checks = shared() if checks is None else checks

    def register(self, subject: str, schema: str) -> RegisteredSchema:
        """The version of ``subject`` with this schema, made if need be.

        Raises InvalidSchema; Incompatible by the level that is set for the subject; Refused 42205 if it is READONLY.
        """
        return self._register(subject, schema, self._checks.examine(schema), client=True)

    def release(self, subject: str, schema: str) -> RegisteredSchema:
        """The same for a contract that this code writes under: BACKWARD, whatever clients have set.

        A mode must not keep a node from starting. Raises InvalidSchema or Incompatible.
        """
        parse(schema)
        return self._register(subject, schema, Examined(fingerprint(schema), ""), client=False)

    def find(self, subject: str, schema: str, show: Show = "live") -> RegisteredSchema | None:
        """The version of ``subject`` that has this very schema.

        Raises InvalidSchema, but for one that was registered before the bounds of today.
        """
        examined = self._checks.examine(schema)
        with self.engine.connect() as connection:
            found = version_with(connection, subject, _mark(examined), show)
        if found is None and examined.fault:
            raise InvalidSchema(examined.fault)
        return found

    def versions(self, subject: str, show: Show = "live") -> list[RegisteredSchema]:
        """All versions, oldest first; empty for an unknown subject."""
        with self.engine.connect() as connection:
            return versions_of(connection, subject, show)

    def everything(self, show: Show = "live") -> list[RegisteredSchema]:
        """All versions of all subjects."""
        with self.engine.connect() as connection:
            return all_versions(connection, show)

    def subjects(self, show: Show = "live") -> list[str]:
        """In order; of the deleted ones only those of which nothing is left."""
        everything = self.everything("all")
        live = {one.subject for one in everything if not one.deleted}
        every = {one.subject for one in everything}
        return sorted({"live": live, "all": every, "deleted": every - live}[show])

    def schema(self, schema_id: int) -> str | None:
        """The text of an id, also when every version that had it was deleted: frames may carry it (invariant 12)."""
        with self.engine.connect() as connection:
            return connection.execute(select(schemas.c.schema).where(schemas.c.id == schema_id)).scalar_one_or_none()

    def uses(self, schema_id: int, show: Show = "live") -> list[RegisteredSchema]:
        """Where a schema is registered."""
        with self.engine.connect() as connection:
            return uses_of(connection, schema_id, show)

    def problems(self, subject: str, schema: str, version: int | None = None) -> list[str]:
        """Why ``schema`` cannot follow ``version`` of ``subject`` at its level; None = those that the level names.

        Raises InvalidSchema.
        """
        examined = self._checks.examine(schema)
        if examined.fault:
            raise InvalidSchema(examined.fault)
        with self.engine.connect() as connection:
            known = versions_of(connection, subject)
            level = level_in_force(connection, subject)
        against = [StoredSchema(one.version, one.schema) for one in known if version in {None, one.version}]
        return self._checks.problems(level, schema, against)

    def _register(self, subject: str, schema: str, examined: Examined, *, client: bool) -> RegisteredSchema:
        mark = _mark(examined)
        checked: _CheckBasis | None = None
        for checks in range(MAX_CHECKS_WITHOUT_LOCK + 1):
            with self.engine.begin() as connection:
                lock(connection)
                existing = version_with(connection, subject, mark)
                if existing is not None:
                    return existing
                if examined.fault:
                    raise InvalidSchema(examined.fault)
                if client:
                    refuse_read_only(connection, subject)
                hidden = version_with(connection, subject, mark, "deleted") if is_contract(subject) else None
                if hidden is not None:
                    return _shown_again(connection, hidden)
                basis = _basis(connection, subject, client=client)
                if basis.known and basis != checked and checks == MAX_CHECKS_WITHOUT_LOCK:
                    self._refuse_incompatible(subject, schema, basis)
                    checked = basis
                if not basis.known or basis == checked:
                    return _added(connection, subject, schema, mark)
            self._refuse_incompatible(subject, schema, basis)
            checked = basis
        raise AssertionError("the last check is made under the lock, and its result used")

    def _refuse_incompatible(self, subject: str, schema: str, basis: _CheckBasis) -> None:
        """Raises Incompatible or InvalidSchema."""
        problems = self._checks.problems(basis.level, schema, basis.known)
        if problems:
            raise Incompatible(f"{subject} {'; '.join(problems)}")


def _mark(examined: Examined) -> str:
    if examined.fingerprint is None:
        raise InvalidSchema(examined.fault)
    return examined.fingerprint


def _basis(connection: Connection, subject: str, *, client: bool) -> _CheckBasis:
    # Events are written under a contract's versions also while these are hidden.
    show: Show = "all" if is_contract(subject) else "live"
    known = [StoredSchema(one.version, one.schema) for one in versions_of(connection, subject, show)]
    return _CheckBasis(level_in_force(connection, subject) if client else DEFAULT, known)


def _shown_again(connection: Connection, hidden: RegisteredSchema) -> RegisteredSchema:
    """A contract keeps the number under which it was released."""
    these = (schema_versions.c.subject == hidden.subject, schema_versions.c.version == hidden.version)
    connection.execute(update(schema_versions).where(*these).values(deleted=False))
    return hidden._replace(deleted=False)


def _added(connection: Connection, subject: str, schema: str, mark: str) -> RegisteredSchema:
    schema_id = _id_of(connection, schema, mark)
    known = versions_of(connection, subject, "all")
    version = known[-1].version + 1 if known else 1
    connection.execute(insert(schema_versions).values(subject=subject, version=version, schema_id=schema_id))
    return RegisteredSchema(subject, version, schema_id, schema)


def _id_of(connection: Connection, schema: str, mark: str) -> int:
    existing = connection.execute(select(schemas.c.id).where(schemas.c.fingerprint == mark)).scalar_one_or_none()
    if existing is not None:
        return int(existing)
    # Counted under the lock, not drawn from a sequence: a refused registration leaves no hole.
    next_id = connection.execute(select(func.coalesce(func.max(schemas.c.id), 0) + 1)).scalar_one()
    connection.execute(insert(schemas).values(id=next_id, fingerprint=mark, schema=schema))
    return int(next_id)
