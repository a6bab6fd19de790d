"""The generic Redis sink: one generation of any projection, with two hashes and a fence for each shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from domain.identifiers import SHARDS
from infrastructure.redis.connection import unavailable_as_port_error
from projections.core.parked_keys import decode_parked_event, encode_parked_event
from projections.core.ports import ApplyOutcome, Fence, ParkedEvent, ShardDump, ShardWrite
from read_models.redis_keys import REFOLD, REFOLDING_FIELD, fence_key, parked_key, state_key

_LUA = (Path(__file__).parent / "apply.lua").read_text()
_PROMOTE = (Path(__file__).parent / "promote.lua").read_text()
_ABANDON = "redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3]); redis.call('HDEL', KEYS[4], ARGV[1])"
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
    """``projections.core.ports.Sink`` on Redis or Valkey. Raises PortUnavailable if the server is unavailable."""

    def __init__(self, client: redis.Redis, projection: str, generation: int, area: str = "") -> None:
        self._client = client
        self._projection = projection
        self._generation = generation
        self._area = area
        self._script = client.register_script(_LUA)
        self._promote = client.register_script(_PROMOTE)
        self._abandon = client.register_script(_ABANDON)

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

    def apply(self, writes: Sequence[ShardWrite]) -> list[ApplyOutcome]:
        done = self._run([(write, "apply") for write in writes])
        return [ApplyOutcome.APPLIED if moved else ApplyOutcome.FENCE_CONFLICT for moved in done]

    def reset(self, shard: int, expected: Fence | None, new: Fence) -> bool:
        return self._run([(ShardWrite(shard, expected, new, {}), "reset")])[0]

    def staging(self) -> RedisSink:
        return RedisSink(self._client, self._projection, self._generation, REFOLD)

    def promote(self, shard: int, expected: Fence, refolded: Fence) -> bool:
        with unavailable_as_port_error():
            return bool(
                self._promote(
                    keys=[*self._keys(shard), *self.staging()._keys(shard)],
                    args=[encode_fence(expected), encode_fence(refolded)],
                )
            )

    def abandon(self, shards: Sequence[int]) -> None:
        with unavailable_as_port_error():
            for shard in shards:
                self._abandon(keys=[*self.staging()._keys(shard), state_key(*self._of(shard))], args=[REFOLDING_FIELD])

    def dump(self, shard: int) -> ShardDump:
        # One MULTI, so that the fence and the states are of one instant.
        with unavailable_as_port_error(), self._client.pipeline(transaction=True) as pipeline:
            pipeline.get(fence_key(*self._of(shard)))
            pipeline.hgetall(state_key(*self._of(shard)))
            pipeline.hgetall(parked_key(*self._of(shard)))
            fence, states, parked = pipeline.execute()
        states.pop(REFOLDING_FIELD.encode(), None)
        return ShardDump(
            decode_fence(fence), {name.decode(): state for name, state in states.items()}, {}, _parked_events(parked)
        )

    def drop(self) -> None:
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard in range(SHARDS):
                for key in (*self._keys(shard), *self.staging()._keys(shard)):
                    pipeline.unlink(key)
            pipeline.execute()

    def _run(self, writes: Sequence[tuple[ShardWrite, str]]) -> list[bool]:
        if not writes:
            return []
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for write, mode in writes:
                states = len(write.states)
                arguments: list[Any] = [encode_fence(write.expected), encode_fence(write.new), mode, states]
                for name, state in write.states.items():
                    arguments += (name, state)
                for name, event in write.parked.items():
                    arguments += (name, "" if event is None else encode_parked_event(event))
                keys = self._keys(write.shard)
                if self._area and mode == "reset":
                    # The marker in the served hash notifies readers, in the same atomic step.
                    keys.append(state_key(self._projection, self._generation, write.shard))
                self._script(keys=keys, args=arguments, client=pipeline)
            return [bool(done) for done in pipeline.execute()]

    def _of(self, shard: int) -> tuple[str, int, int, str]:
        return self._projection, self._generation, shard, self._area

    def _keys(self, shard: int) -> list[str]:
        return [kind(*self._of(shard)) for kind in _KINDS]


def _parked_events(found: Mapping[bytes, bytes]) -> dict[str, ParkedEvent]:
    return {name.decode(): decode_parked_event(event) for name, event in found.items()}
