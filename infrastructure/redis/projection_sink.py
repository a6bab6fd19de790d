"""The generic Redis sink: one generation of any projection, with states, parked keys and a fence for each shard."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from domain.identifiers import SHARDS, shard_of
from infrastructure.redis.connection import RedisClient, unavailable_as_port_error
from infrastructure.redis.partial_slots import decode_table, slot_arguments
from projections.core.parked_keys import decode_parked_event, encode_parked_event
from projections.core.partials import dump_rows
from projections.core.ports import ApplyOutcome, Fence, ParkedEvent, ShardDump, ShardWrite
from read_models.redis_keys import (
    REFOLD,
    REFOLDING_FIELD,
    changes_key,
    fence_key,
    parked_key,
    slot_key,
    slots_key,
    state_key,
)

_LUA = (Path(__file__).parent / "apply.lua").read_text()
_PROMOTE = (Path(__file__).parent / "promote.lua").read_text()
# The last key is that of the served states.
_ABANDON = "redis.call('HDEL', KEYS[#KEYS], ARGV[1]); for k = 1, #KEYS - 1 do redis.call('UNLINK', KEYS[k]) end"
_KINDS = (fence_key, state_key, parked_key)
_UNREADABLE = "unreadable"
MAX_DIGITS = 20
"""Digits of a number in a fence. Longer ones are unreadable: parsing megabytes of digits would stall the worker."""


def encode_fence(fence: Fence | None) -> bytes:
    if fence is None:
        return b""
    if fence.incarnation == _UNREADABLE:
        return fence.log_id.encode("utf-8", "surrogateescape")
    # A fence without an event is encoded as older versions did: the compare-and-set compares these bytes.
    return " ".join(map(str, fence)).rstrip().encode()


def decode_fence(data: bytes | None) -> Fence | None:
    """Decodes any bytes to a fence. Bytes that no worker wrote become a fence that matches no log.

    That is a fence mismatch, so it is replaced, by a compare-and-set on these same bytes.
    """
    if data is None:
        return None
    try:
        log_id, incarnation, seq, position, *event = data.decode().split(" ")
        if len(seq) <= MAX_DIGITS and len(position) <= MAX_DIGITS and len(event) <= 1:
            fence = Fence(log_id, incarnation, int(seq), int(position), *event)
            if encode_fence(fence) == data:
                return fence
    except ValueError:
        pass
    return Fence(data.decode("utf-8", "surrogateescape"), _UNREADABLE, 0, 0)


class RedisSink:
    """``projections.core.ports.Sink`` on Redis or Valkey. Raises PortUnavailable if the server is unavailable.

    ``partial_slots``: the slots of the projection's partial tables; 0 if it has none.
    """

    def __init__(
        self, client: RedisClient, projection: str, generation: int, area: str = "", *, partial_slots: int = 0
    ) -> None:
        self._client = client
        self._projection = projection
        self._generation = generation
        self._area = area
        self._partial_slots = partial_slots
        self._script: Callable[..., Any] = client.register_script(_LUA)
        self._promote: Callable[..., Any] = client.register_script(_PROMOTE)
        self._abandon: Callable[..., Any] = client.register_script(_ABANDON)

    def fences(self, shards: Sequence[int]) -> list[Fence | None]:
        if not shards:
            return []
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard in shards:
                pipeline.get(fence_key(*self._of(shard)))
            return [decode_fence(data) for data in pipeline.execute()]

    def load(self, keys: Mapping[int, Sequence[str]]) -> dict[int, dict[str, bytes]]:
        keys = {shard: names for shard, names in keys.items() if names}
        if not keys:
            return {}
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard, names in keys.items():
                pipeline.hmget(state_key(*self._of(shard)), list(names))
            found = pipeline.execute()
        return {
            shard: {name: data for name, data in zip(names, states, strict=True) if data is not None}
            for (shard, names), states in zip(keys.items(), found, strict=True)
        }

    def parked(self, shards: Sequence[int]) -> dict[int, dict[str, ParkedEvent]]:
        if not shards:
            return {}
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard in shards:
                pipeline.hgetall(parked_key(*self._of(shard)))
            found = pipeline.execute()
        return {shard: _parked_events(parked) for shard, parked in zip(shards, found, strict=True) if parked}

    def count_parked(self) -> int:
        return sum(self._parked_by_shard(range(SHARDS)))

    def page_parked(self, after: str | None, limit: int) -> list[tuple[str, ParkedEvent]]:
        first = 0 if after is None else shard_of(after)
        found: list[tuple[str, ParkedEvent]] = []
        for shard, count in enumerate(self._parked_by_shard(range(first, SHARDS)), first):
            if count:
                found += self._parked_in(shard, after if shard == first else None, limit - len(found))
            if len(found) >= limit:
                break
        return found

    def _parked_by_shard(self, shards: Sequence[int]) -> list[int]:
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard in shards:
                pipeline.hlen(parked_key(*self._of(shard)))
            return [int(count) for count in pipeline.execute()]

    def _parked_in(self, shard: int, after: str | None, limit: int) -> list[tuple[str, ParkedEvent]]:
        """Reads the names of one shard's keys, which Redis does not order, and the events of those of the page."""
        stored = parked_key(*self._of(shard))
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            pipeline.hkeys(stored)
            (names,) = pipeline.execute()
            keys = sorted(key for key in (name.decode() for name in names) if after is None or key > after)[:limit]
            if not keys:
                return []
            pipeline.hmget(stored, keys)
            (events,) = pipeline.execute()
        # A key that was unparked meanwhile has no event.
        return [(key, decode_parked_event(one)) for key, one in zip(keys, events, strict=True) if one is not None]

    def apply(self, writes: Sequence[ShardWrite]) -> list[ApplyOutcome]:
        done = self._run([(write, "apply") for write in writes])
        return [ApplyOutcome.APPLIED if moved else ApplyOutcome.FENCE_CONFLICT for moved in done]

    def reset(self, shard: int, expected: Fence | None, new: Fence) -> bool:
        # The marker in the served hash notifies readers, in the same atomic step.
        return self._run([(ShardWrite(shard, expected, new, {}), "refold" if self._area else "reset")])[0]

    def staging(self) -> RedisSink:
        return RedisSink(self._client, self._projection, self._generation, REFOLD, partial_slots=self._partial_slots)

    def promote(self, shard: int, expected: Fence, refolded: Fence) -> bool:
        with unavailable_as_port_error():
            return bool(
                self._promote(
                    keys=[*self._all_keys(shard), *self.staging()._all_keys(shard)],
                    args=[encode_fence(expected), encode_fence(refolded)],
                )
            )

    def abandon(self, shards: Sequence[int]) -> None:
        with unavailable_as_port_error():
            for shard in shards:
                keys = [*self.staging()._all_keys(shard), state_key(*self._of(shard))]
                self._abandon(keys=keys, args=[REFOLDING_FIELD])

    def dump(self, shard: int) -> ShardDump:
        # One MULTI, so that the fence and the states are of one instant.
        with unavailable_as_port_error(), self._client.pipeline(transaction=True) as pipeline:
            pipeline.get(fence_key(*self._of(shard)))
            pipeline.hgetall(state_key(*self._of(shard)))
            pipeline.hgetall(parked_key(*self._of(shard)))
            if self._partial_slots:
                of = (self._projection, self._generation, shard)
                for key in (
                    slots_key(*of, self._area),
                    *(slot_key(*of, s, self._area) for s in range(self._partial_slots)),
                ):
                    pipeline.hgetall(key)
            fence, states, parked, *partials = pipeline.execute()
        states.pop(REFOLDING_FIELD.encode(), None)
        return ShardDump(
            decode_fence(fence),
            {name.decode(): state for name, state in states.items()},
            dict(dump_rows(decode_table(*partials))) if partials else {},
            _parked_events(parked),
        )

    def drop(self) -> None:
        areas = [(shard, area) for shard in range(SHARDS) for area in ("", REFOLD)]
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            # As stored: the code of another version may have had other slots.
            for shard, area in areas:
                pipeline.hkeys(slots_key(self._projection, self._generation, shard, area))
            for (shard, area), slots in zip(areas, pipeline.execute(), strict=True):
                of = (self._projection, self._generation, shard)
                kinds = [kind(*of, area) for kind in (*_KINDS, slots_key, changes_key)]
                pipeline.unlink(*kinds, *(slot_key(*of, int(slot), area) for slot in slots if slot))
            pipeline.execute()

    def _run(self, writes: Sequence[tuple[ShardWrite, str]]) -> list[bool]:
        if not writes:
            return []
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for write, mode in writes:
                arguments: list[Any] = [encode_fence(write.expected), encode_fence(write.new), mode, len(write.states)]
                slots = self._written_slots(write, mode)
                if slots:
                    arguments += (len(write.parked), len(write.partials), write.new.seq)
                for name, state in write.states.items():
                    arguments += (name, state)
                for name, event in write.parked.items():
                    arguments += (name, "" if event is None else encode_parked_event(event))
                keys = self._keys(write.shard)
                if slots:
                    keys += self._slot_keys(write.shard, slots)
                    arguments += slot_arguments(slots, write.partials)
                if mode == "refold":
                    keys.append(state_key(self._projection, self._generation, write.shard))
                self._script(keys=keys, args=arguments, client=pipeline)
            return [bool(done) for done in pipeline.execute()]

    def _of(self, shard: int) -> tuple[str, int, int, str]:
        return self._projection, self._generation, shard, self._area

    def _keys(self, shard: int) -> list[str]:
        return [kind(*self._of(shard)) for kind in _KINDS]

    def _written_slots(self, write: ShardWrite, mode: str) -> Collection[int]:
        """The slots whose keys the write needs: all of them where it first empties the shard."""
        if not self._partial_slots:
            return ()
        return range(self._partial_slots) if write.expected is None or mode != "apply" else write.partials

    def _slot_keys(self, shard: int, slots: Iterable[int]) -> list[str]:
        """The keys of the table's slots and of its changes, then that of each of ``slots``; without partials none."""
        if not self._partial_slots:
            return []
        of = (self._projection, self._generation, shard)
        return [
            slots_key(*of, self._area),
            changes_key(*of, self._area),
            *(slot_key(*of, s, self._area) for s in slots),
        ]

    def _all_keys(self, shard: int) -> list[str]:
        return self._keys(shard) + self._slot_keys(shard, range(self._partial_slots))


def _parked_events(found: Mapping[bytes, bytes]) -> dict[str, ParkedEvent]:
    return {name.decode(): decode_parked_event(event) for name, event in found.items()}
