"""Dumps of the audit in memory, which a test can damage (``projections.parity.audit_dumps.AuditDumps``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

from domain.identifiers import SHARDS
from projections.parity.audit_dumps import KEPT_DUMPS, DamagedDump, DumpPart, DumpRecord


class MemoryAuditDumps:
    """``kept``: by projection, the oldest first. ``damaged``: numbers whose bytes are not those written."""

    def __init__(self) -> None:
        self.kept: dict[str, list[tuple[DumpRecord, list[DumpPart]]]] = {}
        self.damaged: set[int] = set()

    def store(self, projection: str, log_id: UUID, fold_digest: str, parts: Iterable[DumpPart]) -> None:
        mine, made = self.kept.setdefault(projection, []), list(parts)
        number = mine[-1][0].number + 1 if mine else 1
        mine.append((DumpRecord(number, log_id, fold_digest, tuple(part.seq for part in made[:SHARDS])), made))
        del mine[:-KEPT_DUMPS]

    def records(self, projection: str) -> Sequence[DumpRecord]:
        return [record for record, _ in reversed(self.kept.get(projection, []))]

    def parts(self, projection: str, number: int) -> Iterator[DumpPart]:
        [found] = [parts for record, parts in self.kept[projection] if record.number == number]
        yield from found[:-1]
        if number in self.damaged:
            raise DamagedDump("the bytes are others")
        yield found[-1]
