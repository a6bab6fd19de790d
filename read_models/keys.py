"""Redis keys of a projection's state. The hash tag is the unit of atomicity: one slot of a Redis Cluster."""

from __future__ import annotations


def state_key(projection: str, generation: int, shard: int) -> str:
    """A hash: aggregate key -> state bytes."""
    return f"{{{projection}@{generation}:{shard}}}:state"


def fence_key(projection: str, generation: int, shard: int) -> str:
    """A string: what has been applied to the hash beside it."""
    return f"{{{projection}@{generation}:{shard}}}:fence"


def parked_key(projection: str, generation: int, shard: int) -> str:
    """A hash: aggregate key -> why it is held back."""
    return f"{{{projection}@{generation}:{shard}}}:parked"
