"""Keeps the partial tables of a projection for the audit, folded from the event store, one event after the other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from domain.identifiers import SHARDS
from projections.core.fences import digest_of
from projections.core.fold import NO_SNAPSHOTS, Fold, FoldedShard
from projections.core.partials import MergedPartials
from projections.core.ports import LoggedEvent, ParkedEvent
from projections.replay.source import ReplaySource
from read_models.city.content import CityTables, TableVector

S = TypeVar("S")

CHUNK_EVENTS = 500
"""Events folded between two checks of the budget: about 20 ms."""
MAX_STATE_BYTES = 64 * 2**20
"""Bounds the encoded states in memory. The state of a key that was dropped is folded from its events when needed."""


class MissingEvents(Exception):
    """The log has no such events any more: it was restored to an older state."""


class DetachedEvents(Exception):
    """The log has had such events, and they were detached from it."""


class RewrittenLog(Exception):
    """The log has another event at the place of one that was folded: it was restored, and has gone on since."""


@dataclass
class FoldBudget:
    """How much one step of the audit may fold: so many events, until ``is_over``."""

    events: int = 1 << 62
    is_over: Callable[[], bool] = lambda: False

    def is_spent(self) -> bool:
        """Whether nothing more may be folded."""
        return self.events <= 0 or self.is_over()


class StateCache:
    """The encoded states of the keys used last, at most ``max_bytes`` of them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._states: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """The state; None if it is not in memory."""
        state = self._states.get(key)
        if state is not None:
            self._states.move_to_end(key)
        return state

    def update(self, states: Mapping[str, bytes]) -> None:
        """Keep ``states``, and drop those that were not used for the longest time."""
        for key, state in states.items():
            self._bytes += len(state) - len(self._states.pop(key, b""))
            self._states[key] = state
        while self._bytes > self._max_bytes and self._states:
            self._bytes -= len(self._states.popitem(last=False)[1])


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
        self.tables = MergedPartials(permanent_slots)
        self.seqs = [0] * SHARDS
        self.events = 0

    def is_beyond(self, vector: TableVector) -> bool:
        """Whether a shard of ``vector`` is before the place of these tables."""
        return any(seq < mine for seq, mine in zip(vector.seqs, self.seqs, strict=True))

    def advance(self, vector: TableVector, budget: FoldBudget) -> bool:
        """Fold the events from here up to ``vector``. Returns False if the budget ended before.

        Raises MissingEvents, DetachedEvents, RewrittenLog, PortUnavailable, and what ``decode`` raises while the schema
        registry is unavailable. What was folded before that stays valid.
        """
        for shard, upto in enumerate(vector.seqs):
            while self.seqs[shard] < upto:
                if budget.is_spent():
                    return False
                before = self.events
                self._fold_chunk(shard, min(upto, self.seqs[shard] + min(CHUNK_EVENTS, budget.events)))
                budget.events -= self.events - before
        return True

    def city_tables(self, generation: int) -> CityTables:
        """The tables with their vector, for the merge."""
        return CityTables(TableVector(generation, tuple(self.seqs)), self.tables.rings.values(), self.tables.permanent)

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
        position, key, shard, mark = waiting[0]
        discarded = self._discarded | {position}
        # Everything is read before anything is changed: an error of a port leaves the key parked.
        state = self._state_before(key, mark.version)
        events = self._events_from(key, mark.version, self.seqs[shard])
        folded = self._fold.run(events, {key: state}.get, (), discarded)
        self._discarded = discarded
        del self._parked[key]
        self._take_over(shard, folded, len(events))
        return True

    def _events_from(self, key: str, version: int, upto_seq: int) -> list[LoggedEvent]:
        found: list[LoggedEvent] = []
        while True:
            after = version - 1 + len(found)
            chunk = self._archive.key_range(self._projection.stream, key, after, after + CHUNK_EVENTS, None)
            found += chunk
            if not chunk or chunk[-1].seq >= upto_seq:
                return [event for event in found if event.seq <= upto_seq]

    def _fold_chunk(self, shard: int, upto: int) -> None:
        after = self.seqs[shard]
        # With the last event that was folded, if there is one: it must still be the same (invariant 14).
        events = self._archive.shard_range(self._projection.stream, shard, max(0, after - 1), upto, None)
        where = f"{self._projection.stream} shard {shard}"
        # It may have been detached since: then there is nothing to compare, and the log goes on right after it.
        if after and events and events[0].seq == after and digest_of(events.pop(0)) != self._last_events[shard]:
            raise RewrittenLog(f"the log has another event {after:,} of {where} than before")
        if [event.seq for event in events] != list(range(after + 1, upto + 1)):
            self._raise_missing(shard, upto, where)
        first: dict[str, int] = {}
        for event in events:
            first.setdefault(event.key, event.version)
        states = {key: self._state_before(key, version) for key, version in first.items() if key not in self._parked}
        folded = self._fold.run(events, states.get, self._parked, self._discarded)
        self._take_over(shard, folded, len(events))
        self.seqs[shard] = upto
        self._last_events[shard] = digest_of(events[-1])

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
