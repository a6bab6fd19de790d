"""The embedded schema registry: registers, finds and deletes subjects and versions in Postgres.

A deletion is first soft (hidden, still readable by id), and then permanent.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache
from typing import NamedTuple

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from domain.events.contracts import NAMESPACE, contracts
from infrastructure.postgres.schema import schema_versions, schemas
from infrastructure.schema_registry.canonical import fingerprint
from infrastructure.schema_registry.check_process import CheckProcess, Examined, shared
from infrastructure.schema_registry.compatibility import (
    DEFAULT,
    InvalidSchema,
    Level,
    StoredSchema,
    level_problems,
    parse,
)
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
    """Returns whether events of the log are written with this subject's schemas (invariant 12)."""
    return subject.startswith(f"{NAMESPACE}.")


class Deletion:
    """Deletes versions. A permanent deletion removes version numbers, never a text: its id stays assigned for ever."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def subject(self, subject: str, *, permanent: bool = False) -> list[int]:
        """Deletes a subject and returns the deleted numbers. Raises RegistryRefusal 40401, 40404, 40405 or 42205."""
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
        """Deletes one version (None: the latest) and returns its number.

        Raises RegistryRefusal 40401, 40402, 40406, 40407 or 42205.
        """
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
"""Checks of one registration. If other versions were registered during each, the next check runs under the lock."""


class _CheckBasis(NamedTuple):
    """The inputs of the check of a new version. While they are unchanged, so is the result."""

    level: Level
    known: list[StoredSchema]


class RegistryStore:
    """Registers and finds schemas. An advisory lock serialises registration: concurrent processes get the same ids.

    ``checks`` checks schemas in a separate process, without the lock.
    """

    def __init__(self, engine: Engine, checks: CheckProcess | None = None) -> None:
        self.engine = engine
        self._checks = shared() if checks is None else checks

    def register(self, subject: str, schema: str) -> RegisteredSchema:
        """Returns the version of ``subject`` with this schema, and registers it if it is missing.

        Raises InvalidSchema; Incompatible by the subject's level; RegistryRefusal 42205 if the mode is READONLY.
        """
        return self._register(subject, schema, self._checks.examine(schema), client=True)

    def release(self, subject: str, schema: str) -> RegisteredSchema:
        """Registers a contract that this code writes with, at level BACKWARD and in any mode.

        Settings of clients must not prevent a node from starting. Raises InvalidSchema or Incompatible.
        """
        parse(schema)
        return self._register(subject, schema, Examined(fingerprint(schema), ""), client=False)

    def find(self, subject: str, schema: str, show: Show = "live") -> RegisteredSchema | None:
        """Returns the version of ``subject`` that has this schema.

        Raises InvalidSchema, except for a schema that was registered before today's bounds.
        """
        examined = self._checks.examine(schema)
        with self.engine.connect() as connection:
            found = version_with(connection, subject, _fingerprint(examined), show)
        if found is None and examined.fault:
            raise InvalidSchema(examined.fault)
        return found

    def versions(self, subject: str, show: Show = "live") -> list[RegisteredSchema]:
        """Returns all versions, oldest first; empty for an unknown subject."""
        with self.engine.connect() as connection:
            return versions_of(connection, subject, show)

    def everything(self, show: Show = "live") -> list[RegisteredSchema]:
        """Returns all versions of all subjects."""
        with self.engine.connect() as connection:
            return all_versions(connection, show)

    def subjects(self, show: Show = "live") -> list[str]:
        """Returns the subjects, sorted. A subject counts as deleted if all of its versions are."""
        everything = self.everything("all")
        live = {one.subject for one in everything if not one.deleted}
        every = {one.subject for one in everything}
        return sorted({"live": live, "all": every, "deleted": every - live}[show])

    def schema(self, schema_id: int) -> str | None:
        """Returns the text of an id, even if all versions with it were deleted: frames may name it (invariant 12)."""
        with self.engine.connect() as connection:
            return connection.execute(select(schemas.c.schema).where(schemas.c.id == schema_id)).scalar_one_or_none()

    def uses(self, schema_id: int, show: Show = "live") -> list[RegisteredSchema]:
        """Returns where a schema is registered."""
        with self.engine.connect() as connection:
            return uses_of(connection, schema_id, show)

    def problems(self, subject: str, schema: str, version: int | None = None) -> list[str]:
        """Reports why ``schema`` cannot follow ``version`` of ``subject``. None: the versions that its level names.

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
        digest = _fingerprint(examined)
        checked: _CheckBasis | None = None
        for checks in range(MAX_CHECKS_WITHOUT_LOCK + 1):
            with self.engine.begin() as connection:
                lock(connection)
                existing = version_with(connection, subject, digest)
                if existing is not None:
                    return existing
                if examined.fault:
                    raise InvalidSchema(examined.fault)
                if client:
                    refuse_read_only(connection, subject)
                hidden = version_with(connection, subject, digest, "deleted") if is_contract(subject) else None
                if hidden is not None:
                    return _undeleted(connection, hidden)
                basis = _basis(connection, subject, client=client)
                if basis.known and basis != checked and checks == MAX_CHECKS_WITHOUT_LOCK:
                    self._refuse_incompatible(subject, schema, basis)
                    checked = basis
                if not basis.known or basis == checked:
                    return _added(connection, subject, schema, digest)
            self._refuse_incompatible(subject, schema, basis)
            checked = basis
        raise AssertionError("the last check is made under the lock, and its result used")

    def _refuse_incompatible(self, subject: str, schema: str, basis: _CheckBasis) -> None:
        """Raises Incompatible or InvalidSchema."""
        compared = (schema, *(one.schema for one in basis.known))
        # Contracts of this code need no guard: each program of a new installation would start a process for them.
        check = level_problems if _released().issuperset(compared) else self._checks.problems
        problems = check(basis.level, schema, basis.known)
        if problems:
            raise Incompatible(f"{subject} {'; '.join(problems)}")


@cache
def _released() -> frozenset[str]:
    """Returns the texts of this code's contracts, as a node registers them at its start."""
    return frozenset(json.dumps(contract.schema) for contract in contracts())


def _fingerprint(examined: Examined) -> str:
    if examined.fingerprint is None:
        raise InvalidSchema(examined.fault)
    return examined.fingerprint


def _basis(connection: Connection, subject: str, *, client: bool) -> _CheckBasis:
    # Events are written with a contract's versions even while these are soft-deleted.
    show: Show = "all" if is_contract(subject) else "live"
    known = [StoredSchema(one.version, one.schema) for one in versions_of(connection, subject, show)]
    return _CheckBasis(level_in_force(connection, subject) if client else DEFAULT, known)


def _undeleted(connection: Connection, hidden: RegisteredSchema) -> RegisteredSchema:
    """Restores a soft-deleted contract version, so that it keeps the number of its release."""
    these = (schema_versions.c.subject == hidden.subject, schema_versions.c.version == hidden.version)
    connection.execute(update(schema_versions).where(*these).values(deleted=False))
    return hidden._replace(deleted=False)


def _added(connection: Connection, subject: str, schema: str, digest: str) -> RegisteredSchema:
    schema_id = _id_of(connection, schema, digest)
    known = versions_of(connection, subject, "all")
    version = known[-1].version + 1 if known else 1
    connection.execute(insert(schema_versions).values(subject=subject, version=version, schema_id=schema_id))
    return RegisteredSchema(subject, version, schema_id, schema)


def _id_of(connection: Connection, schema: str, digest: str) -> int:
    existing = connection.execute(select(schemas.c.id).where(schemas.c.fingerprint == digest)).scalar_one_or_none()
    if existing is not None:
        return int(existing)
    # Counted under the lock, not taken from a sequence: a rejected registration leaves no gap.
    next_id = connection.execute(select(func.coalesce(func.max(schemas.c.id), 0) + 1)).scalar_one()
    connection.execute(insert(schemas).values(id=next_id, fingerprint=digest, schema=schema))
    return int(next_id)
