"""A history, served by a fold that may be wrong, and checked by recomputing each answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from projections.core.fold import Fold
from projections.core.projection import Projection
from projections.parity.checker import CheckedRead, ParityChecker
from projections.parity.key_walk import WalkBudget
from projections.parity.served_reads import LoggedRead, WrongSnapshot
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from tests.support.ports_in_memory.parity_ports import (
    DamageableSnapshots,
    KeyArchive,
    MemoryServedReads,
    served,
)
from tests.support.worlds.rider_events import START_MS
from tests.support.worlds.speed_events import ping_data

EVERY = 5


def filled(history: Sequence[tuple[str, str, dict[str, Any]]]) -> KeyArchive:
    archive = KeyArchive()
    for key, event_type, data in history:
        archive.append(key, event_type, data)
    return archive


def ride(pings: int, rider: str = "anna") -> KeyArchive:
    return filled([(rider, "GpsPing", ping_data(rider, START_MS + n * 1_000, n)) for n in range(pings)])


class Live:
    """Serving: folds in batches, answers after any event, saves snapshots. ``projection`` may be wrong."""

    def __init__(self, archive: KeyArchive, projection: Projection[Any] = SPEED) -> None:
        self.snapshots = DamageableSnapshots()
        self.reads: list[LoggedRead] = []
        states: dict[str, Any] = {}
        fold: Fold[Any] = Fold(projection, json.loads, lambda: 0, EVERY)
        for number, event in enumerate(archive.events):
            done = fold.run([event], states.get, (), archive.discarded(projection.name))
            if event.key not in done.states:
                continue
            # Through its bytes, as a store returns it.
            states[event.key] = projection.decode(done.encoded[event.key])
            self.snapshots.save(done.snapshots, verified=False)
            at_ms = START_MS + number * 997
            self.reads.append(
                served(projection, number, event, states[event.key], at_ms, allow_expired=number % 2 == 0)
            )


def check(
    archive: KeyArchive,
    live: Live,
    reads: Sequence[LoggedRead] | None = None,
    budget: WalkBudget | None = None,
    found: Callable[[WrongSnapshot], None] | None = None,
    batch: int = 3,
) -> list[CheckedRead]:
    def unexpected(wrong: WrongSnapshot) -> None:
        raise AssertionError(wrong)

    parity = ParityChecker(
        ReplaySource(SPEED, archive, json.loads),
        live.snapshots,
        found or unexpected,
        snapshot_interval=EVERY,
        batch_reads=batch,
    )
    stored = MemoryServedReads(live.reads if reads is None else reads)
    return list(parity.check(stored.scan(0), budget))


def verdicts(found: Sequence[CheckedRead]) -> set[str]:
    return {one.verdict for one in found}
