"""What a compacted topic shows of a shard, noted beside the state: by it, what was not published is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from projections.ports import Fence

MAX_MARK_BYTES = 1_000


class Mark(NamedTuple):
    """The topic ``topic`` (its identity, not its name) shows the shard as ``generation`` had it at ``fence``, or newer.

    Another fence's log or incarnation, another generation or a topic that was made again: nothing is known then.
    """

    generation: int
    fence: Fence
    topic: str


class Move(NamedTuple):
    """A mark's step, made only if the mark is still ``expected``."""

    expected: Mark | None
    new: Mark


class Marks(Protocol):
    """One mark a shard for all generations of a projection: they publish to the same topic.

    Every method raises PortUnavailable when the server is away.
    """

    def read(self, shards: Sequence[int]) -> dict[int, Mark]:
        """Marks by shard; a shard without one is absent."""
        ...

    def move(self, moves: Mapping[int, Move]) -> dict[int, bool]:
        """Each by compare-and-set; False = somebody else has published meanwhile, the mark is as he left it."""
        ...

    def forget(self, shards: Sequence[int]) -> None:
        """Take the marks away, whatever they are: all of these shards has to be published again."""
        ...


def encode_mark(mark: Mark | None) -> str:
    if mark is None:
        return ""
    fence = mark.fence
    # One word, so that the marks of older versions are read by the same rule.
    place = f"{fence.position}/{fence.event}" if fence.event else str(fence.position)
    return f"{mark.generation} {fence.log_id} {fence.incarnation} {fence.seq} {place} {mark.topic}"


def decode_mark(data: bytes) -> Mark | None:
    """None for bytes that are no mark: nothing is known then, and the shard is published again."""
    if len(data) > MAX_MARK_BYTES:
        return None
    try:
        return _decoded(data)
    except ValueError:
        return None


def _decoded(data: bytes) -> Mark:
    generation, log_id, incarnation, seq, place, topic = data.decode().split(" ", 5)
    position, _, event = place.partition("/")
    return Mark(int(generation), Fence(log_id, incarnation, int(seq), int(position), event), topic)
