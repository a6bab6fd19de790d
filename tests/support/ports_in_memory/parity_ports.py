"""The ports of the parity check in memory: an archive, state snapshots and served reads that a test can damage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from projections.core.ports import LoggedEvent
from projections.core.projection import Projection
from projections.core.snapshots import EventRange, ReplayStart, StateSnapshot, StoredSnapshot
from projections.digest.digest import fold_digest, view_digest
from projections.parity.served_reads import LoggedRead, ReadVerdict, ServedRead, WrongSnapshot
from projections.replay.archive import TimedEvent
from projections.replay.as_of import AsOf, Horizon
from read_models.view import ViewLimits, body_of
from tests.support.ports_in_memory.projection_ports import MemoryLog

LIMITS = ViewLimits()


class KeyArchive(MemoryLog):
    """The part of ``Archive`` that reads one key; counts the events that were read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[int] = []

    def horizon(self, as_of: AsOf) -> Horizon:
        raise NotImplementedError

    def last_version(self, stream: str, key: str, position: int) -> int:
        return sum(event.key == key and event.position <= position for event in self.events)

    def key_range(
        self, stream: str, key: str, after_version: int, upto_version: int, sent_by_ms: int | None
    ) -> list[LoggedEvent]:
        assert sent_by_ms is None
        found = [e for e in self.events if e.key == key and after_version < e.version <= upto_version]
        self.read += [event.position for event in found]
        return found

    def shard_range(
        self, stream: str, shard: int, after_seq: int, upto_seq: int, sent_by_ms: int | None
    ) -> list[LoggedEvent]:
        raise NotImplementedError

    def walk(
        self, stream: str, keys: Sequence[str] | None, shard: int, position: int, *, by_event_time: bool
    ) -> Iterator[TimedEvent]:
        raise NotImplementedError


class DamageableSnapshots:
    """Those of one fold, by key and position."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], StoredSnapshot] = {}

    def save(self, snapshots: Sequence[StateSnapshot], *, verified: bool) -> None:
        for one in snapshots:
            if verified or (one.key, one.position) not in self.kept:
                self.kept[one.key, one.position] = StoredSnapshot(one.version, one.position, one.state, verified)

    def latest(self, key: str, position: int, *, verified: bool = False) -> StoredSnapshot | None:
        found = [one for (of, _), one in self.kept.items() if of == key and one.position <= position]
        return max((one for one in found if one.verified or not verified), default=None)

    def at(self, key: str, position: int) -> StoredSnapshot | None:
        return self.kept.get((key, position))

    def starts(self, shard: int) -> list[ReplayStart]:
        raise NotImplementedError

    def decided(self, key: str, position: int, sent_by_ms: int, sent_after_ms: int | None = None) -> list[EventRange]:
        raise NotImplementedError


class MemoryServedReads:
    """Served reads with their verdicts."""

    def __init__(self, reads: Sequence[LoggedRead]) -> None:
        self.reads = {read.id: read for read in reads}
        self.wrong: list[WrongSnapshot] = []

    def count(self, since_ms: int) -> int:
        return sum(one.read.read_ms >= since_ms for one in self.reads.values())

    def scan(self, since_ms: int) -> Iterator[LoggedRead]:
        return iter(_sorted([one for one in self.reads.values() if one.read.read_ms >= since_ms]))

    def unchecked(self, limit: int) -> list[LoggedRead]:
        found = [one for one in self.reads.values() if one.verdict is None]
        oldest = found[: limit - limit // 2]
        newest = found[len(oldest) :][::-1][: limit // 2]
        return _sorted(oldest + newest)

    def record(self, verdicts: Mapping[ReadVerdict, Sequence[int]]) -> None:
        for verdict, ids in verdicts.items():
            for number in ids:
                self.reads[number] = self.reads[number]._replace(verdict=verdict)

    def record_wrong(self, wrong: WrongSnapshot) -> None:
        self.wrong.append(wrong)


def _sorted(reads: list[LoggedRead]) -> list[LoggedRead]:
    return sorted(reads, key=lambda one: (one.read.key, one.read.version, one.id))


def served(
    projection: Projection[Any],
    number: int,
    event: LoggedEvent,
    state: Any,
    read_ms: int,
    *,
    allow_expired: bool = True,
) -> LoggedRead:
    """The answer that a service gives which has just folded ``event`` into ``state``."""
    assert projection.view is not None
    row = projection.view.row(event.key, projection.view.features(state), read_ms, LIMITS, allow_expired)
    body = body_of(row | {"generation": 1})
    read = ServedRead(event.key, 1, event.version, event.position, read_ms, LIMITS, allow_expired, body)
    return LoggedRead(number, fold_digest(projection), view_digest(projection), None, read)
