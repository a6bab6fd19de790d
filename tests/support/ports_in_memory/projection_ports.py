"""The ports of the projections in memory: a log, a sink and a consumer that a test can damage."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from domain.features.partials import AmountTooLarge, PartialSlot, PartialTable, apply_changes
from domain.identifiers import SHARDS, shard_of
from projections.catalogue import PROJECTIONS
from projections.core.partials import ShardPartials, dump_rows, folded_on
from projections.core.ports import (
    ApplyOutcome,
    ConsumerRecord,
    Fence,
    LoggedEvent,
    LogHead,
    ParkedEvent,
    PortUnavailable,
    ShardDump,
    ShardWrite,
    SinkRejected,
)
from read_models.rows import RowChange, merged

TOPIC = "gps-pings"


class MemoryLog:
    """The log of one stream; payloads are JSON. Any other stream, or an unknown projection, fails the test."""

    def __init__(self, stream: str = "Rider") -> None:
        self._stream = stream
        self.log_id: UUID = uuid4()
        self.events: list[LoggedEvent] = []
        self.discards: set[int] = set()
        self._versions: dict[str, int] = defaultdict(int)
        self._seqs = [0] * SHARDS

    def append(self, key: str, event_type: str, data: Mapping[str, Any]) -> LoggedEvent:
        shard = shard_of(key)
        self._seqs[shard] += 1
        self._versions[key] += 1
        event = LoggedEvent(
            len(self.events) + 1,
            shard,
            self._seqs[shard],
            key,
            self._versions[key],
            event_type,
            json.dumps(data).encode(),
        )
        self.events.append(event)
        return event

    def head(self, stream: str) -> LogHead:
        assert stream == self._stream
        return LogHead(self.log_id, len(self.events), list(self._seqs))

    def read_shard(self, stream: str, shard: int, after_seq: int, limit: int) -> list[LoggedEvent]:
        assert stream == self._stream
        return [e for e in self.events if e.shard == shard and e.seq > after_seq][:limit]

    def read_positions(self, stream: str, shards: Sequence[int], after: int, upto: int) -> list[LoggedEvent]:
        assert stream == self._stream
        return [e for e in self.events[after:upto] if e.shard in shards]

    def read_key(
        self, stream: str, key: str, from_version: int, upto_seq: int, limit: int | None = None
    ) -> list[LoggedEvent]:
        assert stream == self._stream
        return [e for e in self.events if e.key == key and e.version >= from_version and e.seq <= upto_seq][:limit]

    def discarded(self, projection: str) -> frozenset[int]:
        # "counted" and "tallied" are projections of tests.
        assert projection in {*PROJECTIONS, "counted", "tallied"}
        return frozenset(self.discards)

    def events_at(self, positions: Sequence[int]) -> dict[int, LoggedEvent]:
        return {p: self.events[p - 1] for p in positions if 0 < p <= len(self.events)}

    def restored_to(self, position: int) -> MemoryLog:
        """The log restored from an older backup: the same identity, fewer events."""
        older = MemoryLog()
        older.log_id = self.log_id
        for event in self.events[:position]:
            older.append(event.key, event.event_type, json.loads(event.payload))
        return older


class MemorySink:
    """A Sink with compare-and-set by shard, like Redis; ``before_apply`` may raise or write to it."""

    def __init__(self) -> None:
        self.states: dict[int, dict[str, bytes]] = defaultdict(dict)
        self.rows: dict[int, dict[tuple[str, tuple[Any, ...]], RowChange]] = defaultdict(dict)
        self.marks: dict[int, dict[str, ParkedEvent]] = defaultdict(dict)
        self.partials: dict[int, PartialTable] = defaultdict(dict)
        self.changes: dict[int, list[tuple[int, PartialTable]]] = defaultdict(list)
        """The changes of the partial tables, each with the seq of its fence."""
        self.held: dict[int, Fence] = {}
        self.before_apply: Callable[[Sequence[ShardWrite]], None] = lambda writes: None
        self.before_promote: Callable[[int], None] = lambda shard: None
        self._staging: MemorySink | None = None

    def fences(self, shards: Sequence[int]) -> list[Fence | None]:
        return [self.held.get(shard) for shard in shards]

    def load(self, keys: Mapping[int, Sequence[str]]) -> dict[int, dict[str, bytes]]:
        return {
            shard: {name: self.states[shard][name] for name in names if name in self.states[shard]}
            for shard, names in keys.items()
        }

    def parked(self, shards: Sequence[int]) -> dict[int, dict[str, ParkedEvent]]:
        return {shard: dict(self.marks[shard]) for shard in shards}

    def count_parked(self) -> int:
        return sum(map(len, self.marks.values()))

    def page_parked(self, after: str | None, limit: int) -> list[tuple[str, ParkedEvent]]:
        place = (-1, "") if after is None else (shard_of(after), after)
        found = sorted((shard, key, event) for shard, marks in self.marks.items() for key, event in marks.items())
        return [(key, event) for shard, key, event in found if (shard, key) > place][:limit]

    def apply(self, writes: Sequence[ShardWrite]) -> list[ApplyOutcome]:
        self.before_apply(writes)
        return [self._one(write) for write in writes]

    def reset(self, shard: int, expected: Fence | None, new: Fence) -> bool:
        if self.held.get(shard) != expected:
            return False
        for kept in self._content():
            kept.pop(shard, None)
        self.held[shard] = new
        return True

    def staging(self) -> MemorySink:
        if self._staging is None:
            self._staging = MemorySink()
        return self._staging

    def promote(self, shard: int, expected: Fence, refolded: Fence) -> bool:
        self.before_promote(shard)
        staging = self.staging()
        if self.held.get(shard) != expected or staging.held.get(shard) != refolded:
            return False
        for mine, other in zip(self._kept(), staging._kept(), strict=True):
            mine.pop(shard, None)
            if shard in other:
                mine[shard] = other.pop(shard)
        return True

    def abandon(self, shards: Sequence[int]) -> None:
        for shard in shards:
            for kept in self.staging()._kept():
                kept.pop(shard, None)

    def _content(self) -> tuple[dict[int, Any], ...]:
        return self.states, self.rows, self.marks, self.partials, self.changes

    def _kept(self) -> tuple[dict[int, Any], ...]:
        return *self._content(), self.held

    def dump(self, shard: int) -> ShardDump:
        rows = {f"{table} {key}": repr(row[2:]).encode() for (table, key), row in self.rows[shard].items()}
        rows |= dump_rows(self.partials[shard])
        return ShardDump(self.held.get(shard), dict(self.states[shard]), rows, dict(self.marks[shard]))

    def drop(self) -> None:
        for kept in self._kept():
            kept.clear()
        self._staging = None

    def _one(self, write: ShardWrite) -> ApplyOutcome:
        if self.held.get(write.shard) != write.expected:
            return ApplyOutcome.FENCE_CONFLICT
        table = {} if write.expected is None else self.partials[write.shard]
        try:
            apply_changes(table, write.partials)
        except AmountTooLarge as error:
            raise SinkRejected(str(error)) from error
        if write.expected is None:
            for kept in self._content():
                kept.pop(write.shard, None)
        self.partials[write.shard] = table
        if write.partials:
            self.changes[write.shard].append((write.new.seq, _copied(write.partials)))
        self.states[write.shard].update(write.states)
        rows = self.rows[write.shard]
        for row in merged([*rows.values(), *write.rows]):
            rows[row.table, row.key] = row
        for key, mark in write.parked.items():
            if mark is None:
                self.marks[write.shard].pop(key, None)
            else:
                self.marks[write.shard][key] = mark
        self.held[write.shard] = write.new
        return ApplyOutcome.APPLIED

    def all_states(self) -> dict[str, bytes]:
        return {key: state for states in self.states.values() for key, state in states.items()}

    def all_rows(self) -> dict[tuple[int, str, tuple[Any, ...]], RowChange]:
        return {(shard, *place): row for shard, rows in self.rows.items() for place, row in rows.items()}

    def all_partials(self) -> dict[int, PartialTable]:
        """The table of each shard; of a shard without one, nothing."""
        return {shard: table for shard, table in self.partials.items() if table}

    def all_parked(self) -> dict[str, ParkedEvent]:
        return {key: mark for marks in self.marks.values() for key, mark in marks.items()}


class MemoryPartialReader:
    """A PartialReader of a MemorySink; ``before_read`` may write to it."""

    def __init__(self, sink: MemorySink) -> None:
        self._sink = sink
        self.before_read: Callable[[], None] = lambda: None

    def read(self, shards: Sequence[int], known: Mapping[int, Fence]) -> dict[int, ShardPartials]:
        self.before_read()
        found: dict[int, ShardPartials] = {}
        for shard in shards:
            fence, before = self._sink.held.get(shard), known.get(shard)
            if fence == before:
                continue
            parked = frozenset(mark.position for mark in self._sink.parked([shard]).get(shard, {}).values())
            if fence is None or before is None or not folded_on(before, fence):
                table = {} if fence is None else _copied(self._sink.partials[shard])
                found[shard] = ShardPartials(fence, [table], whole=True, parked=parked)
            else:
                changes = [table for seq, table in self._sink.changes[shard] if seq > before.seq]
                found[shard] = ShardPartials(fence, changes, whole=False, parked=parked)
        return found


def _copied(table: Mapping[int, PartialSlot]) -> PartialTable:
    return {slot: PartialSlot(bucket, dict(sums)) for slot, (bucket, sums) in table.items()}


class ScriptedTopic:
    """Delivers exactly the batches that a test queues; all partitions assigned until the test says otherwise."""

    def __init__(self, partitions: int = 8) -> None:
        self.partitions = partitions
        self.assigned: dict[int, int] = dict.fromkeys(range(partitions), 1)
        self.batches: list[list[ConsumerRecord]] = []
        self.committed: dict[int, int] = {}
        self.before_seek: Callable[[], None] = lambda: None
        self._offset = 0

    def deliver(self, events: Sequence[LoggedEvent]) -> None:
        self.batches.append([self.record(event) for event in events])

    def record(self, event: LoggedEvent) -> ConsumerRecord:
        self._offset += 1
        headers = [
            ("id", b"-"),
            ("eventType", event.event_type.encode()),
            ("version", str(event.version).encode()),
            ("position", str(event.position).encode()),
            ("seq", str(event.seq).encode()),
        ]
        partition = event.shard % self.partitions
        return ConsumerRecord(TOPIC, partition, self._offset, event.key.encode(), event.payload, headers)

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
        return self.batches.pop(0) if self.batches else []

    def assignment(self) -> Mapping[int, int]:
        return self.assigned

    def seek_to_end(self, partitions: Sequence[int]) -> None:
        """Drop the queued records: they precede the end, so they are never polled."""
        self.before_seek()
        kept = [[record for record in batch if record.partition not in partitions] for batch in self.batches]
        self.batches = [batch for batch in kept if batch]

    def seek(self, partition: int, offset: int) -> None:
        return

    def commit(self, offsets: Mapping[int, int]) -> None:
        self.committed.update(offsets)

    def close(self) -> None:
        return


class ServerUnavailable(PortUnavailable):
    """Raised by a test to simulate a server that is unavailable."""
