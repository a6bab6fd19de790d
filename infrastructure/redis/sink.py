"""The generic Redis sink: one generation of any projection, two hashes and a fence a shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from domain.identifiers import SHARDS
from infrastructure.redis.connection import unavailable_as_port_error
from projections.parked_marks import decode_mark, encode_mark
from projections.ports import Fence, Parked, ShardWrite, Snapshot
from read_models.keys import fence_key, parked_key, state_key

_LUA = (Path(__file__).parent / "apply.lua").read_text()


def encode_fence(fence: Fence | None) -> str:
    # Without an event as older versions wrote it: a compare-and-set is by these very bytes.
    return "" if fence is None else " ".join(map(str, fence)).rstrip()


def decode_fence(data: bytes | None) -> Fence | None:
    if data is None:
        return None
    log_id, incarnation, seq, position, *event = data.decode().split(" ")
    return Fence(log_id, incarnation, int(seq), int(position), *event)


class RedisSink:
    """``projections.ports.Sink`` on Redis or Valkey. Raises PortUnavailable when the server is away."""

    def __init__(self, client: redis.Redis, projection: str, generation: int) -> None:
        self._client = client
        self._projection = projection
        self._generation = generation
        self._script = client.register_script(_LUA)

    def fences(self, shards: Sequence[int]) -> list[Fence | None]:
        if not shards:
            return []
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard in shards:
                pipeline.get(fence_key(self._projection, self._generation, shard))
            return [decode_fence(data) for data in pipeline.execute()]

    def load(self, keys: Mapping[int, Sequence[str]]) -> dict[int, dict[str, bytes]]:
        keys = {shard: names for shard, names in keys.items() if names}
        if not keys:
            return {}
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard, names in keys.items():
                pipeline.hmget(state_key(self._projection, self._generation, shard), list(names))
            found = pipeline.execute()
        return {
            shard: {name: data for name, data in zip(names, states, strict=True) if data is not None}
            for (shard, names), states in zip(keys.items(), found, strict=True)
        }

    def parked(self, shards: Sequence[int]) -> dict[int, dict[str, Parked]]:
        if not shards:
            return {}
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard in shards:
                pipeline.hgetall(parked_key(self._projection, self._generation, shard))
            found = pipeline.execute()
        return {shard: _marks(marks) for shard, marks in zip(shards, found, strict=True) if marks}

    def apply(self, writes: Sequence[ShardWrite]) -> list[bool]:
        return self._run([(write, "apply") for write in writes])

    def reset(self, shard: int, expected: Fence | None, new: Fence) -> bool:
        return self._run([(ShardWrite(shard, expected, new, {}), "reset")])[0]

    def snapshot(self, shard: int) -> Snapshot:
        # One MULTI: nothing is written between the fence and what it stands for.
        with unavailable_as_port_error(), self._client.pipeline(transaction=True) as pipeline:
            for kind in (fence_key, state_key, parked_key):
                key = kind(self._projection, self._generation, shard)
                if kind is fence_key:
                    pipeline.get(key)
                else:
                    pipeline.hgetall(key)
            fence, states, marks = pipeline.execute()
        return Snapshot(
            decode_fence(fence), {name.decode(): state for name, state in states.items()}, {}, _marks(marks)
        )

    def drop(self) -> None:
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard in range(SHARDS):
                for kind in (fence_key, state_key, parked_key):
                    pipeline.unlink(kind(self._projection, self._generation, shard))
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
                for name, mark in write.parked.items():
                    arguments += (name, "" if mark is None else encode_mark(mark))
                self._script(
                    keys=[
                        kind(self._projection, self._generation, write.shard)
                        for kind in (fence_key, state_key, parked_key)
                    ],
                    args=arguments,
                    client=pipeline,
                )
            return [bool(done) for done in pipeline.execute()]


def _marks(found: Mapping[bytes, bytes]) -> dict[str, Parked]:
    return {name.decode(): decode_mark(mark) for name, mark in found.items()}
