"""Keeps the partial tables of a projection for the audit, folded from the event store, one event after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Generic, NoReturn, TypeVar

import msgspec

from domain.features.partials import PartialSlot, add_newest
from domain.identifiers import SHARDS
from projections.core.fences import digest_of
from projections.core.fold import NO_SNAPSHOTS, Fold, FoldedShard
from projections.core.parked_keys import decode_parked_event, encode_parked_event
from projections.core.partials import MergedPartials
from projections.core.ports import LoggedEvent, ParkedEvent
from projections.parity.audit_dumps import (
    OVER_ALL_SHARDS,
    DumpPart,
    MergedContent,
    ShardContent,
    merged_content,
    permanent_of,
    ring_of,
    shard_content,
)
from projections.parity.audit_limits import MAX_STATE_BYTES, FoldBudget, StateCache
from projections.replay.source import ReplaySource
from read_models.city.content import CityTables, TableVector

S = TypeVar("S")

CHUNK_EVENTS = 500
"""Events folded between two checks of the budget: about 20 ms."""
_NONE: frozenset[int] = frozenset()


class MissingEvents(Exception):
    """The log has no such events any more: it was restored to an older state."""


class DetachedEvents(Exception):
    """The log has had such events, and they were detached from it."""


class ParkedLive(Exception):
    """The reason of a key that the audit parks because live folding has parked it."""


class RewrittenLog(Exception):
    """The log has another event at the place of one that was folded: it was restored, and has gone on since."""


class PartialsAudit(Generic[S]):
    """The tables of one projection at ``seqs``. They only go on; to go back, begin with another object.

    ``events``: the number folded so far, those of keys whose state was not in memory included.
    """

    def __init__(
        self, source: ReplaySource[S], permanent_slots: Collection[int], max_state_bytes: int = MAX_STATE_BYTES
    ) -> None:
        self._projection = source.projection
        self._archive = source.archive
        # The clock only dates parked events, which are in no table.
        self._fold = Fold(source.projection, source.decode, lambda: 0, NO_SNAPSHOTS)
        self._states = StateCache(max_state_bytes)
        self._parked: dict[str, tuple[int, ParkedEvent]] = {}
        self._discarded: frozenset[int] = frozenset()
        self._last_events = [""] * SHARDS
        self._last_positions = [0] * SHARDS
        self.tables = MergedPartials(permanent_slots)
        self.seqs = [0] * SHARDS
        self.events = 0

    def is_beyond(self, vector: TableVector) -> bool:
        """Whether a shard of ``vector`` is before the place of these tables."""
        return any(seq < mine for seq, mine in zip(vector.seqs, self.seqs, strict=True))

    def advance(self, vector: TableVector, budget: FoldBudget, parked: frozenset[int] | None = None) -> bool:
        """Fold the events from here up to ``vector``. Returns False if the budget ended before.

        ``parked``: the positions at which live folding had parked keys by then. Their keys stop there too, whatever the
        cause was; a key that is parked here and not there was retried since, and is folded on. None: not known.

        Raises MissingEvents, DetachedEvents, RewrittenLog, PortUnavailable, and what ``decode`` raises while the schema
        registry is unavailable. What was folded before that stays valid.
        """
        for shard, upto in enumerate(vector.seqs):
            while self.seqs[shard] < upto:
                if budget.is_spent():
                    return False
                before = self.events
                self._fold_chunk(shard, min(upto, self.seqs[shard] + min(CHUNK_EVENTS, budget.events)), parked or _NONE)
                budget.events -= self.events - before
        if parked is not None:
            self._fold_on_but(parked)
        return True

    def passed(self, parked: frozenset[int] | None) -> frozenset[int]:
        """Of the positions ``parked``, those whose keys were folded beyond them before they were known."""
        return (parked or _NONE) - {mark.position for _, mark in self._parked.values()}

    def city_tables(self, generation: int) -> CityTables:
        """The tables with their vector, for the merge."""
        tables = self.tables
        vector = TableVector(generation, tuple(self.seqs))
        return CityTables(vector, tables.rings.values(), tables.permanent, tables.buckets)

    def dump(self) -> Iterator[DumpPart]:
        """All that the tables and the fold of the next events need, one part at a time."""
        states = self._states.by_shard()
        for shard, (seq, position) in enumerate(zip(self.seqs, self._last_positions, strict=True)):
            ring = self.tables.rings.get(shard, {})
            parked = {
                key: encode_parked_event(mark).encode() for key, (of, mark) in self._parked.items() if of == shard
            }
            content = ShardContent(
                self._last_events[shard],
                [(slot, bucket, sums) for slot, (bucket, sums) in sorted(ring.items())],
                parked,
                states.get(shard, {}),
            )
            yield DumpPart(shard, seq, position, msgspec.msgpack.encode(content))
        merged = MergedContent(permanent_of(self.tables.permanent), sorted(self._discarded), dict(self.tables.buckets))
        last = max(self._last_positions)
        yield DumpPart(OVER_ALL_SHARDS, sum(self.seqs), last, msgspec.msgpack.encode(merged))

    def restore(self, parts: Iterable[DumpPart]) -> None:
        """Start at a dump, instead of the first event. After DamagedDump, use another object."""
        for shard, seq, position, data in parts:
            if shard == OVER_ALL_SHARDS:
                merged = merged_content(data)
                self._discarded = frozenset(merged.discarded)
                for slot, bucket in merged.buckets.items():
                    added = PartialSlot(bucket, merged.permanent.get(slot, {}))
                    self.tables.changed[slot].update(
                        add_newest(self.tables.permanent, self.tables.buckets, slot, added)
                    )
                continue
            content = shard_content(data)
            self.seqs[shard], self._last_positions[shard] = seq, position
            self._last_events[shard] = content.last_event
            if content.rings:
                self.tables.rings[shard] = ring_of(content)
            self._parked |= {key: (shard, decode_parked_event(mark)) for key, mark in content.parked.items()}
            self._states.update(content.states)

    def is_of_log(self) -> bool:
        """Whether the last folded event of each shard is still in the log (invariant 14). Raises PortUnavailable."""
        for shard, seq in enumerate(self.seqs):
            if seq:
                found = self._archive.shard_range(self._projection.stream, shard, seq - 1, seq, None)
                is_detached = not found and self._archive.head(self._projection.stream).seqs[shard] >= seq
                if not is_detached and [digest_of(event) for event in found] != [self._last_events[shard]]:
                    return False
        return True

    def fold_next_discard(self) -> bool:
        """Fold on one key that is parked at an event which was discarded meanwhile (invariant 10).

        Returns False if there is none. A discard counts from here on only: live folding parked the key until then, and
        so do these tables. Raises PortUnavailable, and what ``decode`` raises.
        """
        recorded = self._archive.discarded(self._projection.name)
        waiting = sorted(
            (mark.position, key, shard, mark)
            for key, (shard, mark) in self._parked.items()
            if mark.position in recorded
        )
        if not waiting:
            return False
        _, key, shard, mark = waiting[0]
        self._fold_on(key, shard, mark, recorded, _NONE)
        return True

    def _fold_on_but(self, parked: frozenset[int]) -> None:
        """Fold on the keys that are parked here, and were not when a snapshot with ``parked`` was made."""
        retried = [(key, *of) for key, of in self._parked.items() if of[1].position not in parked]
        recorded = self._archive.discarded(self._projection.name) if retried else _NONE
        for key, shard, mark in retried:
            self._fold_on(key, shard, mark, recorded, parked)

    def _fold_on(
        self, key: str, shard: int, mark: ParkedEvent, recorded: frozenset[int], parked: frozenset[int]
    ) -> None:
        """Fold a parked key from its event ``mark`` on. ``recorded``: the discards; only that of ``mark`` counts."""
        discarded = self._discarded | ({mark.position} & recorded)
        # Everything is read before anything is changed: an error of a port leaves the key parked.
        state = self._state_before(key, mark.version)
        events, stops = self._until_parked(self._events_from(key, mark.version, self.seqs[shard]), parked)
        folded = self._fold.run(events, {key: state}.get, (), discarded)
        self._discarded = discarded
        del self._parked[key]
        self._take_over(shard, folded, len(events))
        self._stop(shard, stops)

    def _events_from(self, key: str, version: int, upto_seq: int) -> list[LoggedEvent]:
        found: list[LoggedEvent] = []
        while True:
            after = version - 1 + len(found)
            chunk = self._archive.key_range(self._projection.stream, key, after, after + CHUNK_EVENTS, None)
            found += chunk
            if not chunk or chunk[-1].seq >= upto_seq:
                return [event for event in found if event.seq <= upto_seq]

    def _until_parked(
        self, events: list[LoggedEvent], parked: frozenset[int]
    ) -> tuple[list[LoggedEvent], dict[str, ParkedEvent]]:
        """The events that live folding has folded, and the events at which it parked keys."""
        if not any(event.position in parked for event in events):
            return events, {}
        stops: dict[str, ParkedEvent] = {}
        left: list[LoggedEvent] = []
        for event in events:
            if event.position in parked:
                stops.setdefault(event.key, self._fold.rejected(event, ParkedLive("live folding parked the key here")))
            if event.key not in stops:
                left.append(event)
        return left, stops

    def _stop(self, shard: int, stops: Mapping[str, ParkedEvent]) -> None:
        """Park keys where live folding parked them, unless they failed before that."""
        for key, mark in stops.items():
            self._parked.setdefault(key, (shard, mark))

    def _fold_chunk(self, shard: int, upto: int, parked: frozenset[int]) -> None:
        after = self.seqs[shard]
        # With the last event that was folded, if there is one: it must still be the same (invariant 14).
        events = self._archive.shard_range(self._projection.stream, shard, max(0, after - 1), upto, None)
        where = f"{self._projection.stream} shard {shard}"
        # It may have been detached since: then there is nothing to compare, and the log goes on right after it.
        if after and events and events[0].seq == after and digest_of(events.pop(0)) != self._last_events[shard]:
            raise RewrittenLog(f"the log has another event {after:,} of {where} than before")
        if [event.seq for event in events] != list(range(after + 1, upto + 1)):
            self._raise_missing(shard, upto, where)
        last = events[-1]
        folding, stops = self._until_parked(events, parked)
        first: dict[str, int] = {}
        for event in folding:
            first.setdefault(event.key, event.version)
        states = {key: self._state_before(key, version) for key, version in first.items() if key not in self._parked}
        folded = self._fold.run(folding, states.get, self._parked, self._discarded)
        self._take_over(shard, folded, len(events))
        self._stop(shard, stops)
        self.seqs[shard] = upto
        self._last_events[shard] = digest_of(last)
        self._last_positions[shard] = last.position

    def _raise_missing(self, shard: int, upto: int, where: str) -> NoReturn:
        if self._archive.head(self._projection.stream).seqs[shard] >= upto:
            raise DetachedEvents(f"events of {where} up to seq {upto:,} were detached from the log")
        raise MissingEvents(f"the log has not all events of {where} up to seq {upto:,}")

    def _take_over(self, shard: int, folded: FoldedShard[S], events: int) -> None:
        self.tables.apply(shard, folded.partials)
        self._states.update(folded.encoded)
        self._parked.update((key, (shard, mark)) for key, mark in folded.parked.items())
        self.events += events

    def _state_before(self, key: str, version: int) -> S | None:
        """The state of a key before its event ``version``: from memory, else folded from its events."""
        encoded = self._states.get(key)
        if encoded is not None:
            return self._projection.decode(encoded)
        state: S | None = None
        for after in range(0, version - 1, CHUNK_EVENTS):
            upto = min(after + CHUNK_EVENTS, version - 1)
            events = self._archive.key_range(self._projection.stream, key, after, upto, None)
            if len(events) < upto - after:
                raise DetachedEvents(f"events of {key} before its version {version:,} were detached from the log")
            self.events += len(events)
            state = self._fold.run(events, {key: state}.get, (), self._discarded).states.get(key, state)
        return state
