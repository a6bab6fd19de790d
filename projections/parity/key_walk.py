"""Folds one key forward from read to read, range by range and within a budget, for ``projections.parity.checker``."""

from __future__ import annotations

from typing import Generic, TypeVar

from projections.core.fold import Fold
from projections.core.ports import LoggedEvent
from projections.core.snapshots import StateSnapshot, StateSnapshots
from projections.core.state_codec import latest_snapshot
from projections.replay.key_replay import KeyRun
from projections.replay.source import ReplaySource

S = TypeVar("S")

UNLIMITED = 1 << 62


class WalkBudget:
    """Bounds the events folded in one round, and those of one key: a long key must not starve the keys after it."""

    def __init__(self, events: int = UNLIMITED, per_key: int = UNLIMITED) -> None:
        self._left = events
        self._per_key = per_key
        self._left_of_key = per_key

    def next_key(self) -> None:
        self._left_of_key = self._per_key

    def spend(self, events: int) -> None:
        self._left -= events
        self._left_of_key -= events

    @property
    def spent(self) -> bool:
        return self._left <= 0 or self._left_of_key <= 0


class KeyWalk(Generic[S]):
    """Folds one key. ``version`` and ``position`` are those of the last event passed, which may be a discarded one."""

    def __init__(
        self,
        source: ReplaySource[S],
        fold: Fold[S],
        snapshots: StateSnapshots,
        key: str,
        discarded: frozenset[int],
        snapshot_interval: int,
    ) -> None:
        self.key = key
        self.discarded = discarded
        self.version = 0
        self.position = 0
        self.events = 0
        self.generation = 0
        """That of the read that is walked to. Stored snapshots do not name the generation that wrote them."""
        self._projection = source.projection
        self._fold = fold
        self._archive = source.archive
        self._snapshots = snapshots
        self._snapshot_interval = snapshot_interval
        self._ahead: list[LoggedEvent] = []
        self._made: list[tuple[StateSnapshot, int]] = []
        self.run: KeyRun[S] = KeyRun(fold, key, None, discarded)

    def walk_to(self, version: int, position: int, last: int, budget: WalkBudget) -> bool:
        """Fold up to ``version``, or to the end of the log; reads ahead up to ``last``. False: the budget is spent.

        The walk stops at a version of a snapshot, which is saved, so the next round does not fold these events again.
        """
        if version - self.version > self._snapshot_interval:
            self._skip_to_snapshot(version, position)
        while self.version < version:
            if not self._ahead:
                if budget.spent and self.version % self._snapshot_interval == 0:
                    return False
                self._ahead = self._next_range(last)
                if not self._ahead:
                    return True
            count = version - self.version
            self._fold_events(self._ahead[:count])
            budget.spend(min(count, len(self._ahead)))
            self._ahead = self._ahead[count:]
        return True

    def take_snapshots(self) -> list[tuple[StateSnapshot, int]]:
        """Snapshots passed since the last call, each with the generation of the read that was walked to."""
        made, self._made = self._made, []
        return made

    def parked_reason(self) -> str:
        """Why the key is parked; "" if it is not."""
        parked = self.run.parked
        return "" if parked is None else f"the fold fails at version {parked.version}: {parked.reason}"

    def _fold_events(self, events: list[LoggedEvent]) -> None:
        self._made += [(one, self.generation) for one in self.run.fold(events)]
        self.events += len(events)
        self.version, self.position = events[-1].version, events[-1].position

    def _next_range(self, last: int) -> list[LoggedEvent]:
        """The next events, up to the next version of a snapshot. None at the end of the log or if detached."""
        upto = min(last, (self.version // self._snapshot_interval + 1) * self._snapshot_interval)
        events = self._archive.key_range(self._projection.stream, self.key, self.version, upto, None)
        return events if events and events[0].version == self.version + 1 else []

    def _skip_to_snapshot(self, version: int, position: int) -> None:
        found = latest_snapshot(self._projection, self._snapshots, self.key, position, verified=True)
        if found is None or not self.version < found[0].version <= version:
            return
        start, state = found
        self.run = KeyRun(self._fold, self.key, state, self.discarded)
        self.version, self.position, self._ahead = start.version, start.position, []
