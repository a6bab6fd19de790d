"""The latest events of a key, each with the state after it, in one pass over the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from domain.features.keyed_event import KeyedEvent
from projections.core.fold import Fold
from projections.core.ports import LoggedEvent
from projections.core.snapshots import SNAPSHOT_INTERVAL, StateSnapshot, StateSnapshots
from projections.core.state_codec import latest_snapshot
from projections.replay.as_of import Horizon
from projections.replay.key_replay import KeyReplay, KeyRun, chunks
from projections.replay.source import ReplaySource

S = TypeVar("S")


class KeyStep(NamedTuple, Generic[S]):
    """An event that counts, and the state after it; None before anything could be folded."""

    event: LoggedEvent
    state: S | None


class RecordedRun(KeyRun[S]):
    """A run that keeps a step for each event among the ``most`` latest versions.

    ``start`` is the version that the run continues from. ``version`` is that of the last event that was folded: neither
    discarded nor parked. ``folded`` has the states that ``fold`` makes, by version.
    """

    def __init__(
        self,
        fold: Fold[S],
        key: str,
        state: S | None,
        discarded: frozenset[int],
        *,
        start: int,
        most: int,
        folded: dict[int, S],
    ) -> None:
        super().__init__(fold, key, state, discarded)
        self.start = self.version = start
        self.steps: list[KeyStep[S]] = []
        self._most = most
        self._folded = folded

    def fold(self, events: Sequence[LoggedEvent]) -> Sequence[StateSnapshot]:
        state = self.state
        passed = super().fold(events)
        for event in events:
            if self.parked is None or event.version < self.parked.version:
                state = self._folded.get(event.version, state)
            self.steps.append(KeyStep(event, state))
        end = None if self.parked is None else self.parked.version
        self.version = max([self.version, *(one for one in self._folded if end is None or one < end)])
        self._folded.clear()
        # Invariant 15: a key with a long stream is not held in memory.
        self.steps = [one for one in self.steps if one.event.version > self.version - self._most]
        return passed


class LatestSteps(KeyReplay[S]):
    """Replays a key and keeps its latest steps: those of the ``most`` latest versions. For one thread."""

    def __init__(
        self,
        source: ReplaySource[S],
        snapshots: StateSnapshots | None,
        most: int,
        *,
        max_events: int | None = None,
        snapshot_interval: int = SNAPSHOT_INTERVAL,
    ) -> None:
        super().__init__(source, snapshots, max_events=max_events, snapshot_interval=snapshot_interval)
        self._most = most

    def of(self, key: str, horizon: Horizon) -> list[KeyStep[S]]:
        """The steps as of ``horizon``, in the order of the log.

        By effective time they end with the last event that can be folded. On the other axes they go on after a parked
        event, with the state before it. Raises Unresolvable, TooLong, PortUnavailable.
        """
        if horizon.happened_by_ms is None:
            last = self._archive.last_version(self._projection.stream, key, horizon.position)
            return self._between(key, max(0, last - self._most), last, horizon) if last else []
        # The last version of the log may be of hours after the instant, so that what counts is read first.
        run = self._replay_happened(key, horizon)
        assert isinstance(run, RecordedRun)
        if run.state is None:
            return []
        first = max(0, run.version - self._most)
        steps = [one for one in run.steps if first < one.event.version <= run.version]
        # Everything up to the snapshot at which that replay began had happened by the instant.
        return [*self._between(key, first, run.start, horizon), *steps] if first < run.start else steps

    def _between(self, key: str, first: int, last: int, horizon: Horizon) -> list[KeyStep[S]]:
        """The steps with ``first`` < version <= ``last``; all of these events count."""
        following = self._range(key, first, first + 1, None)
        self._require_attached(key, first, following, horizon)
        found = None
        if first and self._snapshots is not None:
            found = latest_snapshot(self._projection, self._snapshots, key, following[0].position - 1)
        start, state = found or (None, None)
        version = 0 if start is None else start.version
        run = self._run(key, horizon, state, version)
        made: list[StateSnapshot] = []
        try:
            for after, until in chunks([(version, last)], self._snapshot_interval):
                events = self._range(key, after, until, None)
                if after == version:
                    self._require_attached(key, version, events, horizon)
                made += run.fold(events)
                self._check_length(run)
        finally:
            # There is none between the start and ``first``; the later ones may be stored already.
            self._save_snapshots(
                [one for one in made if one.version <= first], verified=start is None or start.verified
            )
        return [one for one in run.steps if one.event.version > first]

    def _run(self, key: str, horizon: Horizon, state: S | None, version: int) -> RecordedRun[S]:
        folded: dict[int, S] = {}
        fold = self._projection.fold

        def recorded(before: S, event: KeyedEvent) -> S:
            after = folded[event.version] = fold(before, event)
            return after

        # All events at once, as in serving: folding them one by one would encode every state.
        observed = self._fold(replace(self._projection, fold=recorded), horizon)
        discarded = self._archive.discarded(self._projection.name)
        return RecordedRun(observed, key, state, discarded, start=version, most=self._most, folded=folded)
