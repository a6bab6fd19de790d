"""States of a key kept along its stream, so that any past one is a few hundred events away. Port and pure rules.

A checkpoint is a cache of the fold and never a source: it may be missing anywhere (the fold then starts earlier), and
whether it says what the log says is checked by folding (``projections.parity``), which alone may call it verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

SNAPSHOT_INTERVAL = 500
"""Versions between two checkpoints of a key: 500 events are read and folded in ~5 ms; a checkpoint of a speed window
is ~600 bytes, so ~1 byte an event."""


class StateSnapshot(NamedTuple):
    """The state after the key's event at ``version``. ``payload`` is that event's, by which the store knows that it is
    of this very log: a worker may for a moment still fold what a restore has taken back (invariant 14)."""

    key: str
    version: int
    position: int
    state: bytes
    payload: bytes


class StoredSnapshot(NamedTuple):
    """A checkpoint as it was kept; ``verified``: it has been folded from the log by who kept it."""

    version: int
    position: int
    state: bytes
    verified: bool


class ReplayStart(NamedTuple):
    """A verified checkpoint to begin a refold from; ``seq``: of its event, within the shard."""

    key: str
    seq: int
    version: int
    position: int
    state: bytes


MAX_STARTS = 10_000
"""Checkpoints that one refold of a shard begins from: they are read and written at once. The rest is folded whole."""


class EventRange(NamedTuple):
    """The versions (``after``, ``upto``] of a key, from checkpoint to checkpoint, of which an instant need not look at
    the events: all of them had happened by then, or none. ``position``: of the event at ``upto``."""

    after: int
    upto: int
    position: int
    happened: bool


class StateSnapshots(Protocol):
    """Those of one projection under one digest of its fold. Raises PortUnavailable."""

    def keep(self, checkpoints: Sequence[StateSnapshot], *, verified: bool) -> None:
        """Verified ones replace others; others replace none."""
        ...

    def latest(self, key: str, position: int, *, verified: bool = False) -> StoredSnapshot | None:
        """The last one at ``position`` or before; of the verified ones only, if asked."""
        ...

    def at(self, key: str, position: int) -> StoredSnapshot | None:
        """The one at this very position."""
        ...

    def starts(self, shard: int) -> list[ReplayStart]:
        """The last verified one of each key of a shard; those of the highest versions, MAX_STARTS at most.

        Each is of an event that the log holds now, at this very position.
        """
        ...

    def decided(self, key: str, position: int, sent_by_ms: int) -> list[EventRange]:
        """Where all events were sent as of ``sent_by_ms`` or before, or none was; up to ``position``, by version.

        Neighbours of one kind are one stretch: a few, however many checkpoints the key has.
        """
        ...


class NoSnapshots:
    """Keeps nothing: every fold starts at the key's first event."""

    def keep(self, checkpoints: Sequence[StateSnapshot], *, verified: bool) -> None:
        return

    def latest(self, key: str, position: int, *, verified: bool = False) -> StoredSnapshot | None:
        return None

    def at(self, key: str, position: int) -> StoredSnapshot | None:
        return None

    def starts(self, shard: int) -> list[ReplayStart]:
        return []

    def decided(self, key: str, position: int, sent_by_ms: int) -> list[EventRange]:
        return []


class ReplayPlan(NamedTuple):
    """Where to start (``version`` and ``position`` of a checkpoint, 0: at the beginning) and which ranges (after, upto]
    to read."""

    version: int
    position: int
    ranges: list[tuple[int, int]]


def plan_by_event_time(decided: Sequence[EventRange], last_version: int) -> ReplayPlan:
    """How to find what had happened by an instant without reading what came later.

    A checkpoint can be started from if everything before it had happened by then. Behind it lie the events of that
    time and, anywhere, those that were recorded late: all is read but the stretches of which nothing had happened.
    A stretch of which nothing was decided is read, since nobody knows what lies in it.
    """
    start = EventRange(0, 0, 0, True)
    if decided and decided[0].after == 0 and decided[0].happened:
        start = decided[0]
    ranges: list[tuple[int, int]] = []
    read_upto = start.upto
    # The end of the stream ends the last range, as a stretch without events would.
    for after, upto in [*((one.after, one.upto) for one in decided if not one.happened), (last_version, last_version)]:
        if read_upto < min(after, last_version):
            ranges.append((read_upto, min(after, last_version)))
        read_upto = max(read_upto, upto)
    return ReplayPlan(start.upto, start.position, ranges)
