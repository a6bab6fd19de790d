"""Reads the partial tables of a generation from Redis: the fence of every shard, and what changed since."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infrastructure.redis.connection import RedisClient, unavailable_as_port_error
from infrastructure.redis.partial_slots import decode_changes, decode_table
from infrastructure.redis.projection_sink import decode_fence
from projections.core.parked_keys import decode_parked_event
from projections.core.partials import ShardPartials, folded_on
from projections.core.ports import Fence
from read_models.redis_keys import changes_key, fence_key, parked_key, slot_key, slots_key

_LUA = (Path(__file__).parent / "partials.lua").read_text()


class RedisPartialReader:
    """``projections.core.partials.PartialReader`` on Redis or Valkey, of one generation."""

    def __init__(self, client: RedisClient, projection: str, generation: int, partial_slots: int) -> None:
        self._client = client
        self._of = (projection, generation)
        self._slots = range(partial_slots)
        self._script: Callable[..., Any] = client.register_script(_LUA)

    def read(self, shards: Sequence[int], known: Mapping[int, Fence]) -> dict[int, ShardPartials]:
        found: dict[int, ShardPartials] = {}
        following = [shard for shard in shards if shard in known]
        whole = [shard for shard in shards if shard not in known]
        for shard, (stored_fence, *read) in self._run(following, known).items():
            fence, before = decode_fence(stored_fence), known[shard]
            if fence == before:
                continue
            if fence is None or not folded_on(before, fence) or not read:
                whole.append(shard)
            else:
                parked, changes = read
                found[shard] = ShardPartials(
                    fence, [decode_changes(each) for each in changes], whole=False, parked=_positions(parked)
                )
        # One shard a request: a table may have many thousands of fields.
        for shard in whole:
            stored_fence, parked, slots, hashes = self._run([shard], {})[shard]
            fence = decode_fence(stored_fence)
            if fence is None:
                found[shard] = ShardPartials(None, [{}], whole=True)
                continue
            table = decode_table(_pairs(slots), *map(_pairs, hashes))
            found[shard] = ShardPartials(fence, [table], whole=True, parked=_positions(parked))
        return found

    def _run(self, shards: Sequence[int], known: Mapping[int, Fence]) -> dict[int, Any]:
        if not shards:
            return {}
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard in shards:
                keys = [kind(*self._of, shard) for kind in (fence_key, slots_key, changes_key, parked_key)]
                if shard in known:
                    self._script(keys=keys, args=[known[shard].seq], client=pipeline)
                else:
                    keys += [slot_key(*self._of, shard, slot) for slot in self._slots]
                    self._script(keys=keys, args=[0], client=pipeline)
            return dict(zip(shards, pipeline.execute(), strict=True))


def _positions(parked: Sequence[bytes]) -> frozenset[int]:
    """The positions of parked events. Raises SinkRejected."""
    return frozenset(decode_parked_event(event).position for event in parked)


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
