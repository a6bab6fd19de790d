"""Dumps of the audit's tables: an audit starts at the newest one that is whole and of this log, not at position 0.

A dump has one part a shard and one part with the sums over all shards, all of one vector: that of a city snapshot whose
digest the tables gave. It was folded from the events alone, so it may be a start (invariant 8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec

from domain.features.partials import PartialSlot
from domain.identifiers import SHARDS
from read_models.city.content import TableVector

OVER_ALL_SHARDS = -1
"""The ``shard`` of the part with the sums over all shards."""
KEPT_DUMPS = 2
"""Of each shard: the newest, and the one before it in case that is damaged."""


class DumpPart(NamedTuple):
    """One part. ``seq`` and ``position``: of the last event folded, 0 before the first; over all shards the highest."""

    shard: int
    seq: int
    position: int
    content: bytes


class DumpRecord(NamedTuple):
    """What a stored dump is of. ``seqs``: by shard; shorter if a part is missing."""

    number: int
    log_id: UUID
    fold_digest: str
    seqs: tuple[int, ...]


class DamagedDump(Exception):
    """A stored dump is not what was written: parts are missing, or have other bytes."""


class AuditDumps(Protocol):
    """The stored dumps of the audit, by projection. Raises PortUnavailable, SinkRejected."""

    def store(self, projection: str, log_id: UUID, fold_digest: str, parts: Iterable[DumpPart]) -> None:
        """Store a dump as a whole, and delete all but the newest KEPT_DUMPS."""
        ...

    def records(self, projection: str) -> Sequence[DumpRecord]:
        """The dumps of a projection, the newest first."""
        ...

    def parts(self, projection: str, number: int) -> Iterator[DumpPart]:
        """The parts of a dump, one in memory at a time. Raises DamagedDump for bytes that are not those written."""
        ...


class NoDumps:
    """An audit without dumps: it starts at the first event, and stores nothing."""

    def store(self, projection: str, log_id: UUID, fold_digest: str, parts: Iterable[DumpPart]) -> None:
        """Store nothing."""

    def records(self, projection: str) -> Sequence[DumpRecord]:
        return ()

    def parts(self, projection: str, number: int) -> Iterator[DumpPart]:
        raise DamagedDump(f"there is no dump {number} of {projection}")


class ShardContent(msgspec.Struct, array_like=True):
    """The tables of one shard. ``last_event``: digest of the last event folded. ``parked``: by key, as JSON.

    ``states``: encoded, of the keys used last.
    """

    last_event: str
    rings: list[tuple[int, int, dict[str, tuple[int, ...]]]]
    parked: dict[str, bytes]
    states: dict[str, bytes]


class MergedContent(msgspec.Struct, array_like=True):
    """The sums of the permanent slots over all shards, and the discarded positions that the tables know.

    ``buckets``: of each of the slots, also of one without sums.
    """

    permanent: dict[int, dict[str, tuple[int, ...]]]
    discarded: list[int]
    buckets: dict[int, int]


def shard_content(data: bytes) -> ShardContent:
    """Raises DamagedDump."""
    try:
        return msgspec.msgpack.decode(data, type=ShardContent)
    except msgspec.DecodeError as error:
        raise DamagedDump(f"the tables of a shard cannot be read: {error}") from error


def merged_content(data: bytes) -> MergedContent:
    """Raises DamagedDump."""
    try:
        return msgspec.msgpack.decode(data, type=MergedContent)
    except msgspec.DecodeError as error:
        raise DamagedDump(f"the sums over all shards cannot be read: {error}") from error


def ring_of(content: ShardContent) -> dict[int, PartialSlot]:
    """The ring of a shard."""
    return {slot: PartialSlot(bucket, sums) for slot, bucket, sums in content.rings}


def why_unusable(record: DumpRecord, log_id: UUID, fold_digest: str) -> str:
    """Why an audit of this log by this code cannot start at a dump; "" if it can."""
    if record.log_id != log_id:
        return f"it is of the log {record.log_id}"
    if record.fold_digest != fold_digest:
        return "other code folded it"
    if len(record.seqs) != SHARDS:
        return "parts of it are missing"
    return ""


def is_before(record: DumpRecord, vector: TableVector) -> bool:
    """Whether no shard of the dump is beyond ``vector``."""
    return all(seq <= wanted for seq, wanted in zip(record.seqs, vector.seqs, strict=False))


OnIgnoredDump = Callable[[str], None]
"""Called with one line for each dump that cannot be used."""


def permanent_of(permanent: Mapping[int, Mapping[str, tuple[int, ...]]]) -> dict[int, dict[str, tuple[int, ...]]]:
    """The sums as plain dictionaries, without empty slots."""
    return {slot: dict(sums) for slot, sums in permanent.items() if sums}
