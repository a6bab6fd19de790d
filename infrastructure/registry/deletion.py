"""Deleting versions and subjects: softly (hidden, readable by id), and then permanently."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, Engine, delete, update

from domain.contracts import NAMESPACE
from infrastructure.registry.preferences import forget, refuse_read_only
from infrastructure.registry.refusals import (
    kept_for_ever,
    not_soft_deleted,
    soft_deleted,
    unknown_subject,
    unknown_version,
)
from infrastructure.registry.rows import Registered, lock, versions_of
from infrastructure.registry.tables import schema_versions


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
    def _begin(connection: Connection, subject: str) -> list[Registered]:
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
