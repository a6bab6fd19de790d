"""Folds events of a shard and stores states and fence by one compare-and-set (invariant 4)."""

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
    """Decoded states are a cache: they are as of ``fence``, and dropped as soon as a compare-and-set is lost."""

    def __init__(self, fence: Fence, stored: Fence | None, parked: Mapping[str, ParkedEvent] | None = None) -> None:
        self.fence = fence
        self.stored = stored
        """What the sink holds: None before the first write, else equal to ``fence``."""
        marks = parked or {}
        self.parked: dict[str, ParkedEvent] = {key: mark for key, mark in marks.items() if mark.kind != "ahead"}
        """Keys that are passed over; who unparks one changes the fence's incarnation, so this cannot go stale."""
        self.ahead: dict[str, ParkedEvent] = {key: mark for key, mark in marks.items() if mark.kind == "ahead"}
        """Keys whose state holds events that lie behind the fence: it comes from a verified checkpoint."""
        self.seen_idle_at: int | None = None
        """The seq at which the last idle check found this shard; still there at the next one = a lost last record."""
        self._states: OrderedDict[str, S] = OrderedDict()

    def unfolded(self, events: Sequence[LoggedEvent]) -> Sequence[LoggedEvent]:
        """Those of ``events`` that their key's state does not hold yet."""
        if not self.ahead:
            return events
        held = {key: mark.version for key, mark in self.ahead.items()}
        return [event for event in events if event.version > held.get(event.key, 0)]

    def caught_up(self, events: Sequence[LoggedEvent]) -> list[str]:
        """Keys that are not ahead any more once ``events`` are passed."""
        return [e.key for e in events if e.key in self.ahead and e.version >= self.ahead[e.key].version]

    def missing(self, keys: set[str]) -> list[str]:
        return [key for key in keys if key not in self._states]

    def get(self, key: str) -> S | None:
        return self._states.get(key)

    def put(self, key: str, state: S) -> None:
        self._states[key] = state
        self._states.move_to_end(key)

    def trim(self, maxsize: int) -> None:
        while len(self._states) > maxsize:
            self._states.popitem(last=False)

    def advanced(self, fence: Fence) -> None:
        self.fence = self.stored = fence


log = logging.getLogger("ridelog.projections")

PARKED_PER_SHARD = 1_000
"""More parked keys than this in one shard is no poison event but a fold that is broken, or contracts that are gone."""


class BrokenFold(Exception):
    """So many keys fail that going on would only park the rest: the projection stops and says so."""


class WriteResult(NamedTuple):
    """Shards whose compare-and-set was won and lost, and the newest event time that was folded (epoch ms)."""

    won: set[int]
    lost: set[int]
    newest_ms: int
    parked: int


class ShardWriter(Generic[S]):
    """Works on the shards of one worker; states it has decoded stay with their ShardState."""

    def __init__(
        self,
        projection: Projection[S],
        sink: Sink,
        decode: Decode,
        cached_states_per_shard: int,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        *,
        checkpoint_every: int = SNAPSHOT_INTERVAL,
    ) -> None:
        self._projection = projection
        self._sink = sink
        self._fold = Fold(projection, decode, now_ms, checkpoint_every)
        self._cached_states = cached_states_per_shard
        self.discarded: frozenset[int] = frozenset()
        """Positions that every fold of this projection passes over; read anew with each fence."""

    def write(self, shards: Mapping[int, ShardState[S]], ready: Mapping[int, Sequence[LoggedEvent]]) -> WriteResult:
        """Fold ``ready`` (by shard, next seq first, without holes) and store all shards in one round trip.

        What a ShardState holds is always as of its fence; after a lost compare-and-set, and after any exception, that
        fence is not the sink's any more: the caller must drop it. Raises BrokenFold.
        """
        if not ready:
            return WriteResult(set(), set(), 0, 0)
        self._load(shards, ready)
        try:
            written = self._together(shards, ready)
        except SinkRejected as error:
            log.warning(
                "a batch was refused, looking for the event: %s", error, extra={"projection": self._projection.name}
            )
            # Each shard for itself, then by halves: what is left in the end is one event, and its key is parked.
            parts = [self._halving(shards[shard], shard, events) for shard, events in ready.items()]
            won = set().union(*(part.won for part in parts))
            newest_ms, parked = max(p.newest_ms for p in parts), sum(p.parked for p in parts)
            written = WriteResult(won, ready.keys() - won, newest_ms, parked)
        # Not before all is written: a state that was loaded and then dropped would pass for that of a new key.
        for shard in ready:
            shards[shard].trim(self._cached_states)
        return written

    def _together(self, shards: Mapping[int, ShardState[S]], ready: Mapping[int, Sequence[LoggedEvent]]) -> WriteResult:
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

    def _halving(self, state: ShardState[S], shard: int, events: Sequence[LoggedEvent]) -> WriteResult:
        try:
            return self._together({shard: state}, {shard: events})
        except SinkRejected as error:
            if len(events) == 1:
                return self._park(state, shard, events[0], error)
        middle = len(events) // 2
        first = self._halving(state, shard, events[:middle])
        if first.lost:
            return first
        rest = self._halving(state, shard, events[middle:])
        return WriteResult(rest.won, rest.lost, max(first.newest_ms, rest.newest_ms), first.parked + rest.parked)

    def _park(self, state: ShardState[S], shard: int, event: LoggedEvent, error: Exception) -> WriteResult:
        marks = {event.key: self._fold.refused(event, error)}
        done: FoldedShard[S] = FoldedShard({}, {}, (), marks, 0)
        self._check(shard, state, done)
        write = _write(shard, state, [event], done)
        if self._sink.apply([write]) != [ApplyOutcome.APPLIED]:
            return WriteResult(set(), {shard}, 0, 0)
        return WriteResult({shard}, set(), 0, self._stored(state, write, done))

    def _load(self, shards: Mapping[int, ShardState[S]], ready: Mapping[int, Sequence[LoggedEvent]]) -> None:
        # A shard without a fence is empty, whatever a lost fence may have left there: the first write clears it.
        held = {shard: events for shard, events in ready.items() if shards[shard].stored is not None}
        missing = {shard: shards[shard].missing({event.key for event in events}) for shard, events in held.items()}
        loaded = self._sink.load({shard: keys for shard, keys in missing.items() if keys})
        for shard, states in loaded.items():
            for key, data in states.items():
                shards[shard].put(key, read_state(self._projection, key, data))

    def _folded(self, state: ShardState[S], events: Sequence[LoggedEvent]) -> FoldedShard[S]:
        return self._fold.run(state.unfolded(events), state.get, state.parked, self.discarded)

    def _stored(self, state: ShardState[S], write: ShardWrite, folded: FoldedShard[S]) -> int:
        """Take over what the sink has now; the number of keys newly parked."""
        for key, new in folded.states.items():
            state.put(key, new)
        state.parked.update(folded.parked)
        for key, gone in write.parked.items():
            if gone is None:
                state.ahead.pop(key, None)
        state.advanced(write.new)
        for key, mark in folded.parked.items():
            self._tell(key, mark)
        return len(folded.parked)

    def _check(self, shard: int, state: ShardState[S], folded: FoldedShard[S]) -> None:
        """Before anything is stored, or every further try would park another batch. Raises BrokenFold."""
        if folded.parked and len(state.parked) + len(folded.parked) > PARKED_PER_SHARD:
            raise BrokenFold(
                f"{len(state.parked)} keys of shard {shard} of {self._projection.name} are parked, and "
                f"{len(folded.parked)} more would be: this is no single bad event; mend the fold and start it again, "
                "then `parked list` and `parked retry --all`"
            )

    def _tell(self, key: str, mark: ParkedEvent) -> None:
        log.error(
            "an event cannot be folded: its key is parked, all others go on; see `parked show`, mend, `parked retry`",
            extra={
                "projection": self._projection.name,
                "key": key,
                "position": mark.position,
                "kind": mark.kind,
                "reason": mark.reason,
            },
        )


def _write(shard: int, state: ShardState[S], events: Sequence[LoggedEvent], done: FoldedShard[S]) -> ShardWrite:
    last = events[-1]
    fence = state.fence._replace(seq=last.seq, position=last.position, event=digest_of(last))
    marks: dict[str, ParkedEvent | None] = dict.fromkeys(state.caught_up(events)) if state.ahead else {}
    return ShardWrite(shard, state.stored, fence, done.encoded, done.rows, {**marks, **done.parked}, done.checkpoints)
