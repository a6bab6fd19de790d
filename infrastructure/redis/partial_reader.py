"""Reads the partial tables of a generation from Redis: the fence of every shard, and the slots that changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from infrastructure.redis.connection import unavailable_as_port_error
from infrastructure.redis.partial_slots import decode_slot, decode_slots
from infrastructure.redis.projection_sink import decode_fence
from projections.core.partials import ShardPartials, folded_on
from projections.core.ports import Fence
from read_models.redis_keys import fence_key, slot_key, slots_key

_LUA = (Path(__file__).parent / "partials.lua").read_text()


class RedisPartialReader:
    """``projections.core.partials.PartialReader`` on Redis or Valkey, of one generation."""

    def __init__(self, client: redis.Redis, projection: str, generation: int) -> None:
        self._client = client
        self._of = (projection, generation)
        self._script = client.register_script(_LUA)

    def read(self, shards: Sequence[int], known: Mapping[int, Fence]) -> dict[int, ShardPartials]:
        found: dict[int, ShardPartials] = {}
        asked = self._changed(shards, known)
        while asked:
            answers = self._read_slots(asked)
            following: dict[int, list[int]] = {}
            for shard, (stored_fence, stored_slots, hashes) in answers.items():
                fence, slots = decode_fence(stored_fence), decode_slots(_pairs(stored_slots))
                changed, whole = _changed_slots(known.get(shard), fence, slots)
                content = dict(zip(asked[shard], hashes, strict=True))
                if changed - content.keys():
                    # A write since the slots were chosen changed more of them. There are only so many slots.
                    following[shard] = sorted(changed | content.keys())
                    continue
                table = {slot: decode_slot(slots[slot][0], _pairs(content[slot])) for slot in sorted(changed)}
                found[shard] = ShardPartials(fence, table, whole)
            asked = following
        return found

    def _changed(self, shards: Sequence[int], known: Mapping[int, Fence]) -> dict[int, list[int]]:
        """The shards that changed, with the slots that probably did. The script decides at one instant."""
        if not shards:
            return {}
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard in shards:
                pipeline.get(fence_key(*self._of, shard))
                pipeline.hgetall(slots_key(*self._of, shard))
            answers = pipeline.execute()
        asked: dict[int, list[int]] = {}
        for shard, stored_fence, slots in zip(shards, answers[::2], answers[1::2], strict=True):
            fence, before = decode_fence(stored_fence), known.get(shard)
            if fence != before:
                asked[shard] = sorted(_changed_slots(before, fence, decode_slots(slots))[0])
        return asked

    def _read_slots(self, asked: Mapping[int, Sequence[int]]) -> dict[int, Any]:
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard, slots in asked.items():
                keys = [slot_key(*self._of, shard, slot) for slot in slots]
                self._script(keys=[fence_key(*self._of, shard), slots_key(*self._of, shard), *keys], client=pipeline)
            return dict(zip(asked, pipeline.execute(), strict=True))


def _changed_slots(
    known: Fence | None, fence: Fence | None, slots: Mapping[int, tuple[int, int]]
) -> tuple[set[int], bool]:
    """The slots that changed since ``known``, and whether these are the whole table."""
    if known is not None and fence is not None and folded_on(known, fence):
        return {slot for slot, (_, seq) in slots.items() if seq > known.seq}, False
    return (set(slots) if fence is not None else set()), True


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
