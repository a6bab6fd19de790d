"""States as they are stored, read by the code that is here now."""

from __future__ import annotations

from typing import TypeVar

from projections.checkpoints import Kept
from projections.protocol import Projection

S = TypeVar("S")


class UnreadableState(Exception):
    """Bytes of a store that are no state of this fold: nobody can fold on from there, nor say what they were."""


def read_state(projection: Projection[S], key: str, data: bytes) -> S:
    """What ``projection.encode`` was given for ``key``. Raises UnreadableState, with what to do next."""
    remedy = f"`python app.py rebuild-projection {projection.name}` makes all of it anew from the log"
    return _read(projection, f"what {projection.name} has stored for {key!r}", data, remedy)


def read_checkpoint(projection: Projection[S], key: str, kept: Kept) -> S:
    """The state at a checkpoint. Raises UnreadableState, with what to do next."""
    return _read(
        projection,
        f"the checkpoint of {projection.name} for {key!r} at version {kept.version}",
        kept.state,
        f"it is only a cache: delete what the table `checkpoints` has of projection {projection.name} at position "
        f"{kept.position}, and ask again",
    )


def _read(projection: Projection[S], what: str, data: bytes, remedy: str) -> S:
    try:
        return projection.decode(data)
    except Exception as error:  # a projection's own decoder, on bytes that may be anybody's
        raise UnreadableState(
            f"{what} cannot be read ({error}): it is damaged, or other code wrote it; {remedy}"
        ) from error
