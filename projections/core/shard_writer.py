"""Folds the events of shards, and stores states and fence of each shard by one compare-and-set (invariant 4).

``ShardState`` is one shard inside a worker: its fence, its decoded states and its parked keys.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from projections.core.fences import digest_of
from projections.core.fold import Decode, Fold, FoldedShard
from projections.core.ports import ApplyOutcome, Fence, LoggedEvent, ParkedEvent, ShardWrite, Sink, SinkRejected
from projections.core.projection import Projection
from projections.core.snapshots import SNAPSHOT_INTERVAL
from projections.core.state_codec import read_state

S = TypeVar("S")


class ShardState(Generic[S]):
    """One shard of one generation inside a worker.

    The decoded states are a cache as of ``fence``. They are discarded when a compare-and-set is lost.
    """

    def __init__(self, fence: Fence, stored: Fence | None, parked: Mapping[str, ParkedEvent] | None = None) -> None:
        self.fence = fence
        self.stored = stored
        """The fence in the sink: None before the first write, otherwise equal to ``fence``."""
        entries = (parked or {}).items()
        self.parked: dict[str, ParkedEvent] = {key: event for key, event in entries if event.kind != "ahead"}
        """Keys that are skipped. Unparking a key changes the fence's incarnation, so this cannot be stale."""
        self.ahead: dict[str, ParkedEvent] = {key: event for key, event in entries if event.kind == "ahead"}
        """Keys whose state includes events after the fence, because it comes from a verified snapshot."""
        self.seen_idle_at: int | None = None
        """The seq of this shard at the last idle check. If it is unchanged at the next one, a last record was lost."""
        self._states: OrderedDict[str, S] = OrderedDict()

    def unfolded(self, events: Sequence[LoggedEvent]) -> Sequence[LoggedEvent]:
        """The ``events`` that the states of their keys do not include yet."""
        if not self.ahead:
            return events
        included = {key: ahead.version for key, ahead in self.ahead.items()}
        return [event for event in events if event.version > included.get(event.key, 0)]

    def caught_up(self, events: Sequence[LoggedEvent]) -> list[str]:
        """Keys that are no longer ahead after ``events``."""
        return [e.key for e in events if e.key in self.ahead and e.version >= self.ahead[e.key].version]

    def missing(self, keys: set[str]) -> list[str]:
        """The ``keys`` without a cached state."""
        return [key for key in keys if key not in self._states]

    def get(self, key: str) -> S | None:
        return self._states.get(key)

    def put(self, key: str, state: S) -> None:
        self._states[key] = state
        self._states.move_to_end(key)

    def trim(self, maxsize: int) -> None:
        """Evict the least recently written states."""
        while len(self._states) > maxsize:
            self._states.popitem(last=False)

    def advanced(self, fence: Fence) -> None:
        """Record that the sink has moved to ``fence``."""
        self.fence = self.stored = fence


log = logging.getLogger("ridelog.projections")

MAX_PARKED_PER_SHARD = 1_000
"""More parked keys than this in one shard mean a broken fold or missing schemas, not single poison events."""


class BrokenFold(Exception):
    """So many keys fail that continuing would park all others: the projection stops and reports it."""


class WriteResult(NamedTuple):
    """Shards whose compare-and-set was won and lost; the newest event time folded (epoch ms); keys newly parked."""

    won: set[int]
    lost: set[int]
    newest_ms: int
    parked: int


class ShardWriter(Generic[S]):
    """Folds and writes the shards of one worker. Decoded states are cached in their ShardState."""

    def __init__(
        self,
        projection: Projection[S],
        sink: Sink,
        decode: Decode,
        cached_states_per_shard: int,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        *,
        snapshot_interval: int = SNAPSHOT_INTERVAL,
    ) -> None:
        self._projection = projection
        self._sink = sink
        self._fold = Fold(projection, decode, now_ms, snapshot_interval)
        self._cached_states = cached_states_per_shard
        self.discarded: frozenset[int] = frozenset()
        """Positions that every fold of this projection skips; reread with each fence."""

    def write(self, shards: Mapping[int, ShardState[S]], ready: Mapping[int, Sequence[LoggedEvent]]) -> WriteResult:
        """Fold ``ready`` (by shard, next seq first, without gaps) and store all shards in one round trip.

        A ShardState is always as of its fence. After a lost compare-and-set or any exception, that fence may differ
        from the sink's, and the caller must discard the ShardState. Raises BrokenFold, PortUnavailable.
        """
        if not ready:
            return WriteResult(set(), set(), 0, 0)
        self._load(shards, ready)
        try:
            written = self._write_all(shards, ready)
        except SinkRejected as error:
            log.warning(
                "the sink rejected a batch; splitting it to find the event: %s",
                error,
                extra={"projection": self._projection.name},
            )
            # Split by shard, then in halves, until one event is left: its key is parked.
            parts = [self._write_in_halves(shards[shard], shard, events) for shard, events in ready.items()]
            won = set().union(*(part.won for part in parts))
            newest_ms, parked = max(p.newest_ms for p in parts), sum(p.parked for p in parts)
            written = WriteResult(won, ready.keys() - won, newest_ms, parked)
        # Only after all writes: a loaded state that was evicted before would be taken for that of a new key.
        for shard in ready:
            shards[shard].trim(self._cached_states)
        return written

    def _write_all(
        self, shards: Mapping[int, ShardState[S]], ready: Mapping[int, Sequence[LoggedEvent]]
    ) -> WriteResult:
        folded = {shard: self._folded(shards[shard], events) for shard, events in ready.items()}
        for shard, done in folded.items():
            self._check(shard, shards[shard], done)
        writes = [_write(shard, shards[shard], ready[shard], done) for shard, done in folded.items()]
        won: set[int] = set()
        parked = 0
        for write, outcome in zip(writes, self._sink.apply(writes), strict=True):
            if outcome is ApplyOutcome.APPLIED:
                won.add(write.shard)
                parked += self._stored(shards[write.shard], write, folded[write.shard])
        return WriteResult(won, ready.keys() - won, max(done.newest_ms for done in folded.values()), parked)

    def _write_in_halves(self, state: ShardState[S], shard: int, events: Sequence[LoggedEvent]) -> WriteResult:
        try:
            return self._write_all({shard: state}, {shard: events})
        except SinkRejected as error:
            if len(events) == 1:
                return self._park(state, shard, events[0], error)
        middle = len(events) // 2
        first = self._write_in_halves(state, shard, events[:middle])
        if first.lost:
            return first
        rest = self._write_in_halves(state, shard, events[middle:])
        return WriteResult(rest.won, rest.lost, max(first.newest_ms, rest.newest_ms), first.parked + rest.parked)

    def _park(self, state: ShardState[S], shard: int, event: LoggedEvent, error: Exception) -> WriteResult:
        """Park the key of the one event that the sink rejects."""
        parked = {event.key: self._fold.rejected(event, error)}
        done: FoldedShard[S] = FoldedShard({}, {}, (), parked, 0)
        self._check(shard, state, done)
        write = _write(shard, state, [event], done)
        if self._sink.apply([write]) != [ApplyOutcome.APPLIED]:
            return WriteResult(set(), {shard}, 0, 0)
        return WriteResult({shard}, set(), 0, self._stored(state, write, done))

    def _load(self, shards: Mapping[int, ShardState[S]], ready: Mapping[int, Sequence[LoggedEvent]]) -> None:
        # A shard without a fence counts as empty, even if a lost fence left data: the first write deletes that.
        held = {shard: events for shard, events in ready.items() if shards[shard].stored is not None}
        missing = {shard: shards[shard].missing({event.key for event in events}) for shard, events in held.items()}
        loaded = self._sink.load({shard: keys for shard, keys in missing.items() if keys})
        for shard, states in loaded.items():
            for key, data in states.items():
                shards[shard].put(key, read_state(self._projection, key, data))

    def _folded(self, state: ShardState[S], events: Sequence[LoggedEvent]) -> FoldedShard[S]:
        return self._fold.run(state.unfolded(events), state.get, state.parked, self.discarded)

    def _stored(self, state: ShardState[S], write: ShardWrite, folded: FoldedShard[S]) -> int:
        """Update the cache to what the sink holds now. Returns the number of newly parked keys."""
        for key, new in folded.states.items():
            state.put(key, new)
        state.parked.update(folded.parked)
        for key, entry in write.parked.items():
            if entry is None:
                state.ahead.pop(key, None)
        state.advanced(write.new)
        for key, event in folded.parked.items():
            self._log_parked(key, event)
        return len(folded.parked)

    def _check(self, shard: int, state: ShardState[S], folded: FoldedShard[S]) -> None:
        """Check before anything is stored; otherwise every retry would park another batch. Raises BrokenFold."""
        if folded.parked and len(state.parked) + len(folded.parked) > MAX_PARKED_PER_SHARD:
            raise BrokenFold(
                f"{len(state.parked)} keys of shard {shard} of {self._projection.name} are parked, and "
                f"{len(folded.parked)} more would be: this is no single bad event; repair the fold, restart it, and "
                "run `parked list` and `parked retry --all`"
            )

    def _log_parked(self, key: str, event: ParkedEvent) -> None:
        log.error(
            "an event cannot be folded: its key is parked, all others continue; see `parked show`, `parked retry`",
            extra={
                "projection": self._projection.name,
                "key": key,
                "position": event.position,
                "kind": event.kind,
                "reason": event.reason,
            },
        )


def _write(shard: int, state: ShardState[S], events: Sequence[LoggedEvent], done: FoldedShard[S]) -> ShardWrite:
    last = events[-1]
    fence = state.fence._replace(seq=last.seq, position=last.position, event=digest_of(last))
    parked: dict[str, ParkedEvent | None] = dict.fromkeys(state.caught_up(events)) if state.ahead else {}
    parked = {**parked, **done.parked}
    return ShardWrite(
        shard, state.stored, fence, done.encoded, done.rows, parked, snapshots=done.snapshots, partials=done.partials
    )
