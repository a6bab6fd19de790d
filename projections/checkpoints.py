"""States of a key kept along its stream, so that any past one is a few hundred events away. Port and pure rules.

A checkpoint is a cache of the fold and never a source: it may be missing anywhere (the fold then starts earlier), and
whether it says what the log says is checked by folding (``projections.parity``), which alone may call it verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

EVERY = 500
"""Versions between two checkpoints of a key: 500 events are read and folded in ~5 ms; a checkpoint of a speed window
is ~600 bytes, so ~1 byte an event."""


class Checkpoint(NamedTuple):
    """The state after the key's event at ``version``. ``payload`` is that event's, by which the store knows that it is
    of this very log: a worker may for a moment still fold what a restore has taken back (invariant 14)."""

    key: str
    version: int
    position: int
    state: bytes
    payload: bytes


class Kept(NamedTuple):
    """A checkpoint as it was kept; ``verified``: it has been folded from the log by who kept it."""

    version: int
    position: int
    state: bytes
    verified: bool


class Mark(NamedTuple):
    """A checkpoint without its state: where it stands, and the event times (ms) in the EVERY versions up to it."""

    version: int
    earliest_ms: int
    latest_ms: int


class Checkpoints(Protocol):
    """Those of one projection under one digest of its fold. Raises PortUnavailable."""

    def keep(self, checkpoints: Sequence[Checkpoint], *, verified: bool) -> None:
        """Verified ones replace others; others replace none."""
        ...

    def latest(self, key: str, position: int, *, verified: bool = False) -> Kept | None:
        """The last one at ``position`` or before; of the verified ones only, if asked."""
        ...

    def at(self, key: str, version: int) -> Kept | None:
        """The one at this very version."""
        ...

    def marks(self, key: str, position: int) -> list[Mark]:
        """All of a key at ``position`` or before, by version."""
        ...


class NoCheckpoints:
    """Keeps nothing: every fold starts at the key's first event."""

    def keep(self, checkpoints: Sequence[Checkpoint], *, verified: bool) -> None:
        return

    def latest(self, key: str, position: int, *, verified: bool = False) -> Kept | None:
        return None

    def at(self, key: str, version: int) -> Kept | None:
        return None

    def marks(self, key: str, position: int) -> list[Mark]:
        return []


class Plan(NamedTuple):
    """Where to start (``version`` of a checkpoint, 0: at the beginning) and which ranges (after, upto] to read."""

    version: int
    ranges: list[tuple[int, int]]


def plan_by_event_time(marks: Sequence[Mark], last_version: int, happened_by_ms: int, every: int) -> Plan:
    """How to find what had happened by an instant without reading what came later.

    A checkpoint can be started from if everything before it had happened by then. Behind it lie the events of that
    time and, anywhere, those that were recorded late: only stretches whose earliest event is not later are read.
    A stretch whose mark is missing is read, since nobody knows what lies in it.
    """
    start, known = 0, {mark.version: mark for mark in marks}
    while (mark := known.get(start + every)) is not None and mark.latest_ms <= happened_by_ms:
        start = mark.version
    ranges: list[tuple[int, int]] = []
    for after in range(start, last_version, every):
        mark = known.get(after + every)
        if mark is not None and mark.earliest_ms > happened_by_ms:
            continue
        if ranges and ranges[-1][1] == after:
            ranges[-1] = (ranges[-1][0], after + every)
        else:
            ranges.append((after, after + every))
    return Plan(start, [(after, min(upto, last_version)) for after, upto in ranges])
