"""Stores dumps of the audit's tables in Postgres. Implements ``projections.parity.audit_dumps.AuditDumps``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from uuid import UUID

from sqlalchemy import Engine, delete, func, insert, select

from infrastructure.postgres.audit_tables import audit_dumps
from infrastructure.postgres.errors import unavailable_as_port_error
from projections.parity.audit_dumps import KEPT_DUMPS, OVER_ALL_SHARDS, DamagedDump, DumpPart, DumpRecord

_d = audit_dumps.c
_PARTS_AT_ONCE = 16
"""Parts in memory at once, about a megabyte each in a large city."""


class PostgresAuditDumps:
    """All dumps. Each has one row a shard, so that no value grows with the whole city."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def store(self, projection: str, log_id: UUID, fold_digest: str, parts: Iterable[DumpPart]) -> None:
        newest = select(func.coalesce(func.max(_d.number), 0)).where(_d.projection == projection)
        with unavailable_as_port_error(), self._engine.begin() as connection:
            number = int(connection.execute(newest).scalar_one()) + 1
            of = {"projection": projection, "number": number, "log_id": log_id, "fold_digest": fold_digest}
            left = iter(parts)
            while some := list(islice(left, _PARTS_AT_ONCE)):
                rows = [{**of, **part._asdict(), "digest": _digest_of(part)} for part in some]
                connection.execute(insert(audit_dumps), rows)
            old = delete(audit_dumps).where(_d.projection == projection, _d.number <= number - KEPT_DUMPS)
            connection.execute(old)

    def records(self, projection: str) -> Sequence[DumpRecord]:
        query = (
            select(_d.number, _d.shard, _d.log_id, _d.fold_digest, _d.seq)
            .where(_d.projection == projection)
            .order_by(_d.number.desc(), _d.shard)
        )
        with unavailable_as_port_error(), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        found: dict[int, DumpRecord] = {}
        over_all = {row.number for row in rows if row.shard == OVER_ALL_SHARDS}
        for row in rows:
            held = found.setdefault(row.number, DumpRecord(row.number, row.log_id, row.fold_digest, ()))
            # Without the part over all shards no shard counts: the dump is not whole.
            if row.shard == len(held.seqs) and row.number in over_all:
                found[row.number] = held._replace(seqs=(*held.seqs, row.seq))
        return list(found.values())

    def parts(self, projection: str, number: int) -> Iterator[DumpPart]:
        mine = (_d.projection == projection) & (_d.number == number)
        with unavailable_as_port_error(), self._engine.connect() as connection:
            shards = connection.execute(select(_d.shard).where(mine).order_by(_d.shard)).scalars().all()
            for shard in shards:
                query = select(_d.seq, _d.position, _d.content, _d.digest).where(mine, _d.shard == shard)
                row = connection.execute(query).one()
                part = DumpPart(shard, row.seq, row.position, bytes(row.content))
                if _digest_of(part) != row.digest:
                    raise DamagedDump(f"the bytes of shard {shard} do not have the digest {row.digest}")
                yield part

    def age_s(self, projection: str) -> float | None:
        """Seconds since the newest dump, by the database's clock; None before the first."""
        query = select(func.extract("epoch", func.now() - func.max(_d.made_at))).where(_d.projection == projection)
        with unavailable_as_port_error(), self._engine.connect() as connection:
            age = connection.execute(query).scalar_one()
        return None if age is None else float(age)


def _digest_of(part: DumpPart) -> str:
    place = f"{part.shard} {part.seq} {part.position} "
    return blake2b(place.encode() + part.content, digest_size=16).hexdigest()
