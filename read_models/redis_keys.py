"""Redis keys of a projection's state. The hash tag is the unit of atomicity: one slot of a Redis Cluster.

``area`` is "" for what readers see, REFOLD for what is folded again beside it.
"""

from __future__ import annotations

REFOLD = "refold:"

REFOLDING_FIELD = ""
"""In the hash of states that is served: there while the shard is refolded. No aggregate has an empty key."""


def state_key(projection: str, generation: int, shard: int, area: str = "") -> str:
    """A hash: aggregate key -> state bytes."""
    return f"{{{projection}@{generation}:{shard}}}:{area}state"


def fence_key(projection: str, generation: int, shard: int, area: str = "") -> str:
    """A string: what has been applied to the hash beside it."""
    return f"{{{projection}@{generation}:{shard}}}:{area}fence"


def parked_key(projection: str, generation: int, shard: int, area: str = "") -> str:
    """A hash: aggregate key -> why it is held back."""
    return f"{{{projection}@{generation}:{shard}}}:{area}parked"
