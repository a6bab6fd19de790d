"""Marks in Redis, beside the states that they tell of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import redis

from infrastructure.publication.marks import Mark, Move, decode_mark, encode_mark
from infrastructure.redis.connection import unavailable_as_port_error

_MOVE = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


class RedisMarks:
    """``infrastructure.publication.marks.Marks`` on Redis or Valkey: one string a shard."""

    def __init__(self, client: redis.Redis, projection: str) -> None:
        self._client = client
        self._projection = projection
        self._script = client.register_script(_MOVE)

    def read(self, shards: Sequence[int]) -> dict[int, Mark]:
        if not shards:
            return {}
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard in shards:
                pipeline.get(mark_key(self._projection, shard))
            found = pipeline.execute()
        marks = {shard: decode_mark(data) for shard, data in zip(shards, found, strict=True) if data is not None}
        return {shard: mark for shard, mark in marks.items() if mark is not None}

    def move(self, moves: Mapping[int, Move]) -> dict[int, bool]:
        if not moves:
            return {}
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard, (expected, new) in moves.items():
                self._script(
                    keys=[mark_key(self._projection, shard)],
                    args=[encode_mark(expected), encode_mark(new)],
                    client=pipeline,
                )
            done = pipeline.execute()
        return {shard: bool(won) for shard, won in zip(moves, done, strict=True)}

    def forget(self, shards: Sequence[int]) -> None:
        if not shards:
            return
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard in shards:
                pipeline.delete(mark_key(self._projection, shard))
            pipeline.execute()


def mark_key(projection: str, shard: int) -> str:
    """A string, without a generation in its name: it tells which one the topic shows."""
    return f"{{{projection}:{shard}}}:published"
