"""The latest events of a key, each with the state after it, in one pass over the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from domain.events.contracts import UndecodableError
from domain.features.event_time import MAX_AHEAD_MS, effective_time_ms
from domain.features.keyed_event import KeyedEvent
from projections.core.fold import Fold
from projections.core.ports import LoggedEvent
from projections.core.snapshots import SNAPSHOT_INTERVAL, StateSnapshot, StateSnapshots
from projections.core.state_codec import latest_snapshot
from projections.replay.as_of import Horizon
from projections.replay.key_replay import KeyReplay, KeyRun, chunks
from projections.replay.remembered_parts import KeyParts, KeyStep
from projections.replay.source import ReplaySource

S = TypeVar("S")


class RecordedRun(KeyRun[S]):
    """A run that keeps a step for each event among the ``most`` latest versions.

    ``start`` is the version that the run continues from. ``version`` is that of the last event that was folded: neither
    discarded nor parked. ``folded`` has the states that ``fold`` makes, by version. What ``parts`` remembers is not
    folded again.
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
        parts: KeyParts[S] | None,
    ) -> None:
        super().__init__(fold, key, state, discarded)
        self.start = self.version = start
        self.steps: list[KeyStep[S]] = []
        self._most = most
        self._folded = folded
        self._parts = parts

    def fold(self, events: Sequence[LoggedEvent]) -> Sequence[StateSnapshot]:
        before, steps = self.state, self._known(events)
        rest = events[len(steps) :]
        if steps:
            self.state, self.version = steps[-1].state, max(self.version, steps[-1].event.version)
            self.events += len(steps)
        state = self.state
        passed = super().fold(rest)
        for event in rest:
            if self.parked is None or event.version < self.parked.version:
                state = self._folded.get(event.version, state)
            steps.append(KeyStep(event, state))
        if self._parts is not None and len(self._folded) == len(rest) and self.parked is None:
            self._parts.keep(before, steps)
        end = None if self.parked is None else self.parked.version
        self.version = max([self.version, *(one for one in self._folded if end is None or one < end)])
        self._folded.clear()
        # Invariant 15: a key with a long stream is not held in memory.
        self.steps = [one for one in (*self.steps, *steps) if one.event.version > self.version - self._most]
        return passed

    def _known(self, events: Sequence[LoggedEvent]) -> list[KeyStep[S]]:
        """The remembered steps of ``events`` but the last, whose fold checks that its state can be stored."""
        if self._parts is None or self.parked is not None:
            return []
        return list(self._parts.known(self.state, events))[: len(events) - 1]


class LatestSteps(KeyReplay[S]):
    """Replays a key and keeps its latest steps: those of the ``most`` latest versions. For one thread.

    ``parts``: what is remembered of that key, of the same ``snapshot_interval``; None: everything is read and folded.
    """

    def __init__(
        self,
        source: ReplaySource[S],
        snapshots: StateSnapshots | None,
        most: int,
        *,
        max_events: int | None = None,
        snapshot_interval: int = SNAPSHOT_INTERVAL,
        parts: KeyParts[S] | None = None,
    ) -> None:
        super().__init__(source, snapshots, max_events=max_events, snapshot_interval=snapshot_interval)
        assert parts is None or parts.interval == snapshot_interval
        self._most = most
        self._parts = parts

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
        most, parts = self._most, self._parts
        return RecordedRun(observed, key, state, discarded, start=version, most=most, folded=folded, parts=parts)

    def _range(self, key: str, after: int, until: int, by_ms: int | None) -> list[LoggedEvent]:
        parts = self._parts
        if parts is None:
            return super()._range(key, after, until, by_ms)
        number = after // parts.interval
        start = number * parts.interval
        part = parts.get(number)
        # What follows the last event that may count is not read, but whether there is one decides what was detached.
        until = min(until, max(parts.last, after + 1))
        # Of another part than the first of a replay by event time hardly an event counts: those alone are read.
        if until > start + parts.interval or (by_ms is not None and not part.events):
            return super()._range(key, after, until, by_ms)
        stored = start + len(part.events)
        if stored < until:
            following = self._archive.key_range(self._projection.stream, key, stored, start + parts.interval, None)
            if following and following[0].version != stored + 1:
                # Detached: the caller reports it.
                return super()._range(key, after, until, by_ms)
            part = parts.extend(number, following)
        if by_ms is None:
            return list(part.events[after - start : until - start])
        try:
            since_ms = parts.timed(number, self._since_ms).since_ms
        except (UndecodableError, KeyError):
            # The archive knows the time as sent.
            return super()._range(key, after, until, by_ms)
        timed = zip(part.events[after - start : until - start], since_ms[after - start : until - start], strict=True)
        return [event for event, from_ms in timed if from_ms <= by_ms]

    def _since_ms(self, event: LoggedEvent) -> int:
        """The instant from which an event counts by event time, as ``HappenedEvents`` finds it by two conditions."""
        record = self._events.decode(event.payload)
        return max(effective_time_ms(record), int(record["event_timestamp_ms"]) - MAX_AHEAD_MS)
