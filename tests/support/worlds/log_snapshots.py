"""Events of a log that a test recorded, and state snapshots of them."""

from __future__ import annotations

from dataclasses import replace

from projections.core.ports import LoggedEvent
from projections.core.snapshots import StateSnapshot, StateSnapshots
from projections.speed import SPEED
from tests.support.worlds.archive_worlds import T0, Given, World

OTHER_FOLD = replace(SPEED, fold_version=SPEED.fold_version + 1)
END = 1 << 62
FAR = 1 << 62
"""Past all that a timestamp of any store can hold."""


def recorded(world: World, key: str, *event_ms: int) -> list[LoggedEvent]:
    world.record([Given(key, T0 + ms) for ms in event_ms], T0)
    return world.archive.key_range("Rider", key, 0, END, None)


def versions(kept: StateSnapshots, key: str) -> list[int]:
    """The versions of all of a key's snapshots."""
    found: list[int] = []
    position = END
    while (one := kept.latest(key, position)) is not None:
        found.insert(0, one.version)
        position = one.position - 1
    return found


def of(event: LoggedEvent, state: bytes = b"state") -> StateSnapshot:
    return StateSnapshot(event.key, event.version, event.position, state, event.payload)
