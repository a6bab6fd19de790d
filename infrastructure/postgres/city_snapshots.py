"""Stores city snapshots in Postgres: what each was merged from, and the bytes of the newest."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, delete, exists, func, insert, select, update

from infrastructure.postgres.audit_tables import city_contents, city_snapshots, served_etas
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.schema import log_head
from projections.parity.city_audit import CityVerdict
from projections.parity.city_findings import CityFindings
from read_models.city.content import CityContent, TableVector, digest_of, encode

KEPT_CONTENTS = 4
"""Bytes of so many snapshots are kept: a reader that has read the newest number still finds its bytes."""
MAX_RECORDED_PARKED = 1_000
"""Parked keys of a projection that a record names: more say that the projection itself is broken."""
_PRUNED_AT_ONCE = 1_000
"""Bounds how many numbers one pruning looks at: the deleted rows before them are not read again and again."""


class StoredCity(NamedTuple):
    """What a snapshot was merged from: all that is needed to merge it again from the log."""

    number: int
    as_of_ms: int
    log_id: UUID
    vectors: Mapping[str, TableVector]
    """By projection."""
    digest: str
    fingerprint: Mapping[str, str]
    code_digest: str | None
    """Of the code that merged it (``city_code_digest``); None for a snapshot of before this was on record."""
    parked: Mapping[str, frozenset[int]]
    """By projection, the positions at which keys were parked; absent if that is not on record."""


class DamagedCity(Exception):
    """The stored bytes of a snapshot do not have its digest."""


class PostgresCitySnapshots:
    """The city snapshots of this log. Raises PortUnavailable. ``keep``: records that are kept, the newest."""

    def __init__(self, engine: Engine, keep: int) -> None:
        self._engine = engine
        self._keep = keep

    def store(
        self,
        content: CityContent,
        fingerprint: Mapping[str, str],
        code_digest: str,
        parked: Mapping[str, Collection[int]],
    ) -> StoredCity:
        """Store a snapshot under the next number. Two makers never store under one number: one of them fails."""
        known = {name: sorted(found) for name, found in parked.items() if len(found) <= MAX_RECORDED_PARKED}
        data = encode(content)
        vectors = {"traffic": content.traffic, "orders": content.orders, "calibration": content.calibration}
        with unavailable_as_port_error(), self._engine.begin() as connection:
            newest = connection.execute(select(func.coalesce(func.max(_s.number), 0))).scalar_one()
            stored = StoredCity(
                int(newest) + 1,
                content.as_of_ms,
                UUID(content.log_id),
                vectors,
                digest_of(data),
                fingerprint,
                code_digest,
                {name: frozenset(found) for name, found in known.items()},
            )
            values = {
                "number": stored.number,
                "as_of_ms": stored.as_of_ms,
                "log_id": stored.log_id,
                "generations": {name: vector.generation for name, vector in vectors.items()},
                "fences": {name: list(vector.seqs) for name, vector in vectors.items()},
                "digest": stored.digest,
                "fingerprint": dict(fingerprint),
                "code_digest": code_digest,
                "parked": known,
            }
            connection.execute(insert(city_snapshots).values(values))
            connection.execute(insert(city_contents).values(number=stored.number, content=data))
            _prune(connection, stored.number, self._keep, _PRUNED_AT_ONCE)
        return stored

    def prune(self) -> None:
        """Delete all records but the newest, however many: the setting may be smaller than before."""
        with unavailable_as_port_error(), self._engine.begin() as connection:
            newest = connection.execute(select(func.coalesce(func.max(_s.number), 0))).scalar_one()
            _prune(connection, int(newest), self._keep, int(newest))

    def newest(self) -> StoredCity | None:
        """What the newest snapshot of this log was merged from; None before the first.

        Invariant 14: snapshots of another log, which a restore left in the table, are passed over.
        """
        of_this_log = _s.log_id == select(log_head.c.log_id).scalar_subquery()
        query = select(city_snapshots).where(of_this_log).order_by(_s.number.desc()).limit(1)
        with unavailable_as_port_error(), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _stored(row)

    def record(self, number: int) -> StoredCity | None:
        """What a snapshot was merged from; None if its record is not kept any more."""
        query = select(city_snapshots).where(_s.number == number)
        with unavailable_as_port_error(), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _stored(row)

    def following(self, number: int, since_ms: int = 0) -> StoredCity | None:
        """The first snapshot that is kept with this number or a later one, and made at ``since_ms`` or later."""
        query = select(city_snapshots).where(_s.number >= number, _s.as_of_ms >= since_ms).order_by(_s.number).limit(1)
        with unavailable_as_port_error(), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _stored(row)

    def record_verdict(self, number: int, verdict: CityVerdict) -> None:
        """Record what the audit found. A verdict that compares nothing never replaces another: it says less."""
        mine = _s.number == number
        if verdict not in (CityVerdict.EQUAL, CityVerdict.DIFFERENT):
            mine &= _s.verdict.is_(None)
        with unavailable_as_port_error(), self._engine.begin() as connection:
            connection.execute(update(city_snapshots).where(mine).values(verdict=verdict))

    def findings(self, code_digest: str) -> CityFindings:
        """The findings on record of this log. ``different``: of this code, and of the newest audited generations."""
        audited = (_s.log_id == select(log_head.c.log_id).scalar_subquery()) & _s.verdict.is_not(None)
        totals = select(_s.verdict, func.count()).where(audited).group_by(_s.verdict)
        newest = select(_s.number, _s.generations).where(audited).order_by(_s.number.desc()).limit(1)
        different = select(func.count()).where(audited, _s.verdict == "different", _s.code_digest == code_digest)
        with unavailable_as_port_error(), self._engine.connect() as connection:
            last = connection.execute(newest).one_or_none()
            if last is None:
                return CityFindings()
            found = {row[0]: int(row[1]) for row in connection.execute(totals)}
            wrong = connection.execute(different.where(_s.generations == last.generations)).scalar_one()
        return CityFindings(found, last.number, generations=last.generations, different=int(wrong))

    def content(self, city: StoredCity) -> bytes | None:
        """The bytes of a snapshot; None if they are not kept any more. Raises DamagedCity."""
        query = select(city_contents.c.content).where(city_contents.c.number == city.number)
        with unavailable_as_port_error(), self._engine.connect() as connection:
            data = connection.execute(query).scalar_one_or_none()
        if data is not None and digest_of(data) != city.digest:
            raise DamagedCity(f"the bytes of city snapshot {city.number} do not have its digest {city.digest}")
        return data


_s = city_snapshots.c


def _prune(connection: Connection, newest: int, keep: int, numbers: int) -> None:
    for table, kept in ((city_snapshots, keep), (city_contents, KEPT_CONTENTS)):
        upto, number = newest - kept, table.c.number
        statement = delete(table).where(number > upto - numbers, number <= upto)
        if table is city_snapshots:
            # What an answer on record names stays: without it the answer could not be computed again.
            statement = statement.where(~exists().where(served_etas.c.city_snapshot == number))
        connection.execute(statement)


def _stored(row: Row[Any]) -> StoredCity:
    vectors = {name: TableVector(row.generations[name], tuple(seqs)) for name, seqs in row.fences.items()}
    parked = {name: frozenset(positions) for name, positions in (row.parked or {}).items()}
    return StoredCity(
        row.number, row.as_of_ms, row.log_id, vectors, row.digest, row.fingerprint, row.code_digest, parked
    )
