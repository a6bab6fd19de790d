"""Stores what a compacted topic shows of each shard, in Redis next to the states; it reveals unpublished changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from infrastructure.redis.connection import RedisClient, unavailable_as_port_error
from projections.core.ports import Fence

MAX_CHECKPOINT_BYTES = 1_000


class PublishedCheckpoint(NamedTuple):
    """The topic ``topic`` (its identity, not its name) shows the shard as ``generation`` had it at ``fence``, or newer.

    If the log or incarnation of the fence, the generation or the topic differs, the checkpoint says nothing.
    """

    generation: int
    fence: Fence
    topic: str


class CheckpointMove(NamedTuple):
    """A compare-and-set: the checkpoint becomes ``new`` only if it is still ``expected``."""

    expected: PublishedCheckpoint | None
    new: PublishedCheckpoint


class PublishedCheckpointStore(Protocol):
    """One checkpoint per shard for all generations of a projection, because they publish to the same topic.

    Every method raises PortUnavailable when the server is unavailable.
    """

    def read(self, shards: Sequence[int]) -> dict[int, PublishedCheckpoint]:
        """Checkpoints by shard; a shard without one is absent."""
        ...

    def move(self, moves: Mapping[int, CheckpointMove]) -> dict[int, bool]:
        """Apply each move by compare-and-set. False: another worker has published meanwhile; nothing was changed."""
        ...

    def forget(self, shards: Sequence[int]) -> None:
        """Delete the checkpoints unconditionally: these shards must be published again completely."""
        ...


def encode_checkpoint(checkpoint: PublishedCheckpoint | None) -> str:
    if checkpoint is None:
        return ""
    fence = checkpoint.fence
    # Without a blank, so that the checkpoints of older versions are parsed by the same rule.
    place = f"{fence.position}/{fence.event}" if fence.event else str(fence.position)
    return f"{checkpoint.generation} {fence.log_id} {fence.incarnation} {fence.seq} {place} {checkpoint.topic}"


def decode_checkpoint(data: bytes) -> PublishedCheckpoint | None:
    """Parse a checkpoint. Returns None for other bytes: nothing is known then, and the shard is published again."""
    if len(data) > MAX_CHECKPOINT_BYTES:
        return None
    try:
        return _decoded(data)
    except ValueError:
        return None


def _decoded(data: bytes) -> PublishedCheckpoint:
    generation, log_id, incarnation, seq, place, topic = data.decode().split(" ", 5)
    position, _, event = place.partition("/")
    return PublishedCheckpoint(int(generation), Fence(log_id, incarnation, int(seq), int(position), event), topic)


_MOVE = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


class RedisPublishedCheckpoints:
    """``PublishedCheckpointStore`` on Redis or Valkey: one string per shard."""

    def __init__(self, client: RedisClient, projection: str) -> None:
        self._client = client
        self._projection = projection
        self._script: Callable[..., Any] = client.register_script(_MOVE)

    def read(self, shards: Sequence[int]) -> dict[int, PublishedCheckpoint]:
        if not shards:
            return {}
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard in shards:
                pipeline.get(checkpoint_key(self._projection, shard))
            found = pipeline.execute()
        checkpoints = {
            shard: decode_checkpoint(data) for shard, data in zip(shards, found, strict=True) if data is not None
        }
        return {shard: checkpoint for shard, checkpoint in checkpoints.items() if checkpoint is not None}

    def move(self, moves: Mapping[int, CheckpointMove]) -> dict[int, bool]:
        if not moves:
            return {}
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard, (expected, new) in moves.items():
                self._script(
                    keys=[checkpoint_key(self._projection, shard)],
                    args=[encode_checkpoint(expected), encode_checkpoint(new)],
                    client=pipeline,
                )
            done = pipeline.execute()
        return {shard: bool(won) for shard, won in zip(moves, done, strict=True)}

    def forget(self, shards: Sequence[int]) -> None:
        if not shards:
            return
        with unavailable_as_port_error(), self._client.pipeline(transaction=False) as pipeline:
            for shard in shards:
                pipeline.delete(checkpoint_key(self._projection, shard))
            pipeline.execute()


def checkpoint_key(projection: str, shard: int) -> str:
    """The key of the string. It has no generation in its name, because its value names the one that the topic shows."""
    return f"{{{projection}:{shard}}}:published"
