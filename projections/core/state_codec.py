"""States as they are stored, read by the code that is here now."""

from __future__ import annotations

import logging
from typing import TypeVar

from projections.core.projection import Projection
from projections.core.snapshots import StateSnapshots, StoredSnapshot

S = TypeVar("S")

log = logging.getLogger("ridelog.projections")


class BrokenState(Exception):
    """Bytes of a store that are no state of this fold: nobody can fold on from there, nor say what they were."""


def decoded(projection: Projection[S], data: bytes) -> S:
    """What ``projection.encode`` was given. Raises BrokenState, with the decoder's words."""
    try:
        return projection.decode(data)
    except Exception as error:  # a projection's own decoder, on bytes that may be anybody's
        raise BrokenState(str(error)) from error


def read_state(projection: Projection[S], key: str, data: bytes) -> S:
    """What a sink has for ``key``. Raises BrokenState, with what to do next."""
    try:
        return decoded(projection, data)
    except BrokenState as error:
        raise BrokenState(
            f"what {projection.name} has stored for {key!r} cannot be read ({error}): it is damaged, or other code "
            f"wrote it; `python app.py rebuild-projection {projection.name}` makes all of it anew from the log"
        ) from error


def read_snapshot(projection: Projection[S], key: str, kept: StoredSnapshot) -> S | None:
    """The state at a checkpoint; None if it cannot be read: it is a cache, and what it lacks is folded from the log."""
    try:
        return decoded(projection, kept.state)
    except BrokenState as error:
        log.warning(
            "the checkpoint of %s for %r at version %d is passed over, it cannot be read: %s",
            projection.name,
            key,
            kept.version,
            error,
        )
        return None


def latest_snapshot(
    projection: Projection[S], checkpoints: StateSnapshots, key: str, position: int, *, verified: bool = False
) -> tuple[StoredSnapshot, S] | None:
    """The last one at ``position`` or before that can be read, with its state; as ``Checkpoints.latest``."""
    while (kept := checkpoints.latest(key, position, verified=verified)) is not None:
        state = read_snapshot(projection, key, kept)
        if state is not None:
            return kept, state
        position = kept.position - 1
    return None
