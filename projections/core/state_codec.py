"""Decodes stored states and snapshots with the current code of a projection."""

from __future__ import annotations

import logging
from typing import TypeVar

from projections.core.projection import Projection
from projections.core.snapshots import StateSnapshots, StoredSnapshot

S = TypeVar("S")

log = logging.getLogger("ridelog.projections")


class BrokenState(Exception):
    """Stored bytes that are no state of this fold: they can be neither folded on nor interpreted."""


def decoded(projection: Projection[S], data: bytes) -> S:
    """Decode ``data``, the output of ``projection.encode``. Raises BrokenState with the message of the decoder."""
    try:
        return projection.decode(data)
    except Exception as error:  # a projection's own decoder, on arbitrary bytes
        raise BrokenState(str(error)) from error


def read_state(projection: Projection[S], key: str, data: bytes) -> S:
    """Decode the state that a sink stores for ``key``. Raises BrokenState, with the command to run next."""
    try:
        return decoded(projection, data)
    except BrokenState as error:
        raise BrokenState(
            f"the state that {projection.name} stores for {key!r} cannot be read ({error}): it is damaged, or other "
            f"code wrote it; run `python app.py rebuild-projection {projection.name}` to rebuild it from the log"
        ) from error


def read_snapshot(projection: Projection[S], key: str, stored: StoredSnapshot) -> S | None:
    """The state of a snapshot, or None if it cannot be read: it is a cache, and the log is folded instead."""
    try:
        return decoded(projection, stored.state)
    except BrokenState as error:
        log.warning(
            "the snapshot of %s for %r at version %d cannot be read and is skipped: %s",
            projection.name,
            key,
            stored.version,
            error,
        )
        return None


def latest_snapshot(
    projection: Projection[S], snapshots: StateSnapshots, key: str, position: int, *, verified: bool = False
) -> tuple[StoredSnapshot, S] | None:
    """The last readable snapshot at ``position`` or before, with its state; see ``StateSnapshots.latest``."""
    while (stored := snapshots.latest(key, position, verified=verified)) is not None:
        state = read_snapshot(projection, key, stored)
        if state is not None:
            return stored, state
        position = stored.position - 1
    return None
