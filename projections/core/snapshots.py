"""State snapshots of a key along its stream: any past state is a few hundred events away. Port and pure rules.

A snapshot is a cache of the fold and never a source. Any snapshot may be missing: the fold then starts earlier. Only
folding the log again (``projections.parity``) may mark a snapshot as verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

SNAPSHOT_INTERVAL = 500
"""Versions between two snapshots of a key: 500 events are read and folded in ~5 ms. A snapshot of a speed window has
~600 bytes, so this costs ~1 byte an event."""


class StateSnapshot(NamedTuple):
    """The state of a key after its event at ``version``.

    ``payload`` is that event's: the store compares it with the log, since after a restore of the log a worker may
    briefly fold events that the restore removed (invariant 14).
    """

    key: str
    version: int
    position: int
    state: bytes
    payload: bytes


class StoredSnapshot(NamedTuple):
    """A snapshot as stored; ``verified``: the process that saved it had folded it from the log."""

    version: int
    position: int
    state: bytes
    verified: bool


class ReplayStart(NamedTuple):
    """A verified snapshot from which a refold starts; ``seq`` is that of its event within the shard."""

    key: str
    seq: int
    version: int
    position: int
    state: bytes


MAX_STARTS = 10_000
"""Snapshots from which one refold of a shard starts. Bounds memory: they are read and written in one batch. All other
keys are folded from their first event."""


class EventRange(NamedTuple):
    """A range of versions (``after``, ``upto``] of a key, between two snapshots, that a replay need not read.

    ``happened``: all of its events had happened by the instant of the replay; otherwise none had. ``position`` is that
    of the event at ``upto``.
    """

    after: int
    upto: int
    position: int
    happened: bool


class StateSnapshots(Protocol):
    """The state snapshots of one projection under one digest of its fold. Every method raises PortUnavailable."""

    def save(self, snapshots: Sequence[StateSnapshot], *, verified: bool) -> None:
        """Save snapshots. A verified one replaces an existing one; an unverified one never does."""
        ...

    def latest(self, key: str, position: int, *, verified: bool = False) -> StoredSnapshot | None:
        """The last snapshot at ``position`` or before; with ``verified``, the last verified one."""
        ...

    def at(self, key: str, position: int) -> StoredSnapshot | None:
        """The snapshot at exactly this position."""
        ...

    def starts(self, shard: int) -> list[ReplayStart]:
        """The last verified snapshot of each key of a shard: at most MAX_STARTS, those of the highest versions.

        Each belongs to an event that the log holds now at exactly that position.
        """
        ...

    def decided(self, key: str, position: int, sent_by_ms: int, sent_after_ms: int | None = None) -> list[EventRange]:
        """The ranges up to ``position`` of which all events were sent by ``sent_by_ms``, or none, by version.

        With ``sent_after_ms``, not before ``sent_by_ms``: none means that all were sent after that later instant.
        Adjacent ranges of one kind are merged, so there are few, however many snapshots the key has.
        """
        ...


class ReplayPlan(NamedTuple):
    """The snapshot to start from (its ``version`` and ``position``; 0: none) and the ranges (after, upto] to read."""

    version: int
    position: int
    ranges: list[tuple[int, int]]


def plan_by_event_time(decided: Sequence[EventRange], last_version: int) -> ReplayPlan:
    """Plan how to read what had happened by an instant without reading all later events.

    The replay starts from a snapshot if everything before it had happened by then. After the snapshot come the events
    of that time, and late-recorded ones anywhere: so every range is read, except those of which nothing had happened.
    A range that is not in ``decided`` is read too, since it may hold either.
    """
    start = EventRange(0, 0, 0, True)
    if decided and decided[0].after == 0 and decided[0].happened:
        start = decided[0]
    ranges: list[tuple[int, int]] = []
    read_upto = start.upto
    # The end of the stream closes the last range, like a range without events.
    for after, upto in [*((one.after, one.upto) for one in decided if not one.happened), (last_version, last_version)]:
        if read_upto < min(after, last_version):
            ranges.append((read_upto, min(after, last_version)))
        read_upto = max(read_upto, upto)
    return ReplayPlan(start.upto, start.position, ranges)
