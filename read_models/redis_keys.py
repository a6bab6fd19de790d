"""Redis keys of a projection's state. The hash tag is the unit of atomicity: one slot of a Redis Cluster.

``area`` is "" for what readers see, and REFOLD for the area next to it in which a shard is refolded.
"""

from __future__ import annotations

REFOLD = "refold:"

REFOLDING_FIELD = ""
"""A field in the served hash of states, present while the shard is refolded. No aggregate has an empty key."""


def state_key(projection: str, generation: int, shard: int, area: str = "") -> str:
    """A hash: aggregate key -> state bytes."""
    return f"{{{projection}@{generation}:{shard}}}:{area}state"


def fence_key(projection: str, generation: int, shard: int, area: str = "") -> str:
    """A string: the fence, which says what has been applied to the hash next to it."""
    return f"{{{projection}@{generation}:{shard}}}:{area}fence"


def slots_key(projection: str, generation: int, shard: int, area: str = "") -> str:
    """A hash: slot of the partial table -> its bucket. An absent slot is empty.

    The field without a name has the seq from which on the list of ``changes_key`` is complete, and the list's bytes.
    """
    return f"{{{projection}@{generation}:{shard}}}:{area}slots"


def changes_key(projection: str, generation: int, shard: int, area: str = "") -> str:
    """A list: the latest changes of the partial table, oldest first, each with the seqs of the fences around it."""
    return f"{{{projection}@{generation}:{shard}}}:{area}changes"


def slot_key(projection: str, generation: int, shard: int, slot: int, area: str = "") -> str:
    """A hash: field -> sums, of one slot of the partial table."""
    return f"{{{projection}@{generation}:{shard}}}:{area}slot:{slot}"


def parked_key(projection: str, generation: int, shard: int, area: str = "") -> str:
    """A hash: aggregate key -> its parked event."""
    return f"{{{projection}@{generation}:{shard}}}:{area}parked"
