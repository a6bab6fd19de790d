"""Folds events of a shard and stores states and fence by one compare-and-set (invariant 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from domain.features.keyed_event import KeyedEvent
from projections.ports import LoggedEvent, ShardWrite, Sink
from projections.protocol import Projection
from projections.shard import ShardState

S = TypeVar("S")
Decode = Callable[[bytes], Mapping[str, Any]]


class Written(NamedTuple):
    """Shards whose compare-and-set was won and lost, and the newest event time that was folded (epoch ms)."""

    won: set[int]
    lost: set[int]
    newest_ms: int


class ShardWriter(Generic[S]):
    """Works on the shards of one worker; states it has decoded stay with their ShardState."""

    def __init__(self, projection: Projection[S], sink: Sink, decode: Decode, cached_states_per_shard: int) -> None:
        self._projection = projection
        self._sink = sink
        self._decode = decode
        self._cached_states = cached_states_per_shard

    def write(self, shards: Mapping[int, ShardState[S]], ready: Mapping[int, Sequence[LoggedEvent]]) -> Written:
        """Fold ``ready`` (by shard, next seq first, without holes) and store all shards in one round trip.

        After a lost compare-and-set, and after any exception, the ShardState holds states that are not stored: the
        caller must drop it.
        """
        if not ready:
            return Written(set(), set(), 0)
        self._load(shards, ready)
        newest_ms = 0
        writes = []
        for shard, events in ready.items():
            write, newest_of_shard = self._folded(shard, shards[shard], events)
            writes.append(write)
            newest_ms = max(newest_ms, newest_of_shard)
        won: set[int] = set()
        for write, ok in zip(writes, self._sink.apply(writes), strict=True):
            if ok:
                won.add(write.shard)
                shards[write.shard].advanced(write.new)
                shards[write.shard].trim(self._cached_states)
        return Written(won, ready.keys() - won, newest_ms)

    def _load(self, shards: Mapping[int, ShardState[S]], ready: Mapping[int, Sequence[LoggedEvent]]) -> None:
        missing = {shard: shards[shard].missing({event.key for event in events}) for shard, events in ready.items()}
        loaded = self._sink.load({shard: keys for shard, keys in missing.items() if keys})
        for shard, states in loaded.items():
            for key, data in states.items():
                shards[shard].put(key, self._projection.decode(data))

    def _folded(self, shard: int, state: ShardState[S], events: Sequence[LoggedEvent]) -> tuple[ShardWrite, int]:
        changed: dict[str, S] = {}
        newest_ms = 0
        for event in events:
            data = self._decode(event.payload)
            keyed = KeyedEvent(event.key, event.version, event.position, event.event_type, data)
            old = changed.get(event.key)
            if old is None:
                old = state.get(event.key)
            changed[event.key] = self._projection.fold(self._projection.initial if old is None else old, keyed)
            newest_ms = max(newest_ms, data.get("event_timestamp_ms", 0))
        for key, new in changed.items():
            state.put(key, new)
        fence = state.fence._replace(seq=events[-1].seq, position=events[-1].position)
        encoded = {key: self._projection.encode(new) for key, new in changed.items()}
        return ShardWrite(shard, state.stored, fence, encoded), newest_ms
