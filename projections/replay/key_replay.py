"""Replay of one key: the state that serving had, or would have had, as of a horizon; by the very fold that serves.

It starts at a checkpoint and folds the few hundred events behind it, however long the key's stream is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

from domain.features.event_time import MAX_AHEAD_MS
from projections.core.fold import Decode, Fold
from projections.core.ports import LoggedEvent, ParkedEvent, PortUnavailable, SinkRejected
from projections.core.projection import Projection
from projections.core.snapshots import SNAPSHOT_INTERVAL, EventRange, StateSnapshot, StateSnapshots, plan_by_event_time
from projections.core.state_codec import latest_snapshot, read_snapshot
from projections.replay.archive import Archive
from projections.replay.as_of import Horizon, Unresolvable, upto
from projections.replay.event_axis import HappenedEvents
from read_models.rows import RowChange, Rows, merge_into
from read_models.view import ViewLimits

S = TypeVar("S")


class TooLong(Exception):
    """More events would have to be folded than the caller allows; nothing is wrong with them."""


class Replayed(NamedTuple, Generic[S]):
    """A key as of a horizon: its state (None: nothing of it could be folded); its rows, of a projection with tables.

    ``parked``: it is held back at that event, and the state is the one before it. ``events``: how many were folded.
    """

    state: S | None
    rows: list[RowChange]
    parked: ParkedEvent | None
    events: int


class KeyRun(Generic[S]):
    """Folds one key on and on; once parked it stands, as the live one does."""

    def __init__(self, fold: Fold[S], key: str, state: S | None, discarded: frozenset[int]) -> None:
        self.state = state
        self.rows: Rows = {}
        self.parked: ParkedEvent | None = None
        self.events = 0
        self._fold = fold
        self._key = key
        self._discarded = discarded

    def take(self, events: Sequence[LoggedEvent]) -> Sequence[StateSnapshot]:
        """Fold the next events of the key; the snapshots passed."""
        if self.parked is not None:
            return ()
        done = self._fold.run(events, lambda _: self.state, (), self._discarded)
        self.state = done.states.get(self._key, self.state)
        self.parked = done.parked.get(self._key)
        self.events += len(events)
        merge_into(self.rows, done.rows)
        return done.snapshots

    def result(self) -> Replayed[S]:
        return Replayed(self.state, list(self.rows.values()), self.parked, self.events)


class KeyReplay(Generic[S]):
    """Replays single keys of one projection.

    ``max_events`` bounds the events folded for one answer (invariant 15).
    """

    def __init__(
        self,
        projection: Projection[S],
        archive: Archive,
        snapshots: StateSnapshots,
        decode: Decode,
        *,
        max_events: int | None = None,
        snapshot_interval: int = SNAPSHOT_INTERVAL,
    ) -> None:
        self._projection = projection
        self._archive = archive
        self._snapshots = snapshots
        self._events = HappenedEvents(archive, decode)
        self._max_events = max_events
        self._snapshot_interval = snapshot_interval

    def at(self, key: str, horizon: Horizon) -> Replayed[S] | None:
        """None: the key has no event within the horizon. Raises TooLong; Unresolvable if its events were detached."""
        run = self._known(key, horizon) if horizon.happened_by_ms is None else self._happened(key, horizon)
        return run.result() if run.events or run.state is not None else None

    def check_not_detached(self, key: str, horizon: Horizon) -> None:
        """Raises Unresolvable if the key's first events were detached."""
        self._whole(key, 0, self._range(key, 0, 1, None), horizon)

    def run_from(self, key: str, version: int, horizon: Horizon) -> KeyRun[S]:
        """What folds on behind ``version``, of which the key has more: it holds all that counts up to there.

        Raises Unresolvable if the next event was detached: from nothing, the rest would give states it never had.
        """
        following = self._range(key, version, version + 1, None)
        self._whole(key, version, following, horizon)
        run = self._run(key, horizon, None)
        if version and following:
            before = self.at(key, horizon._replace(position=min(horizon.position, following[0].position - 1)))
            if before is not None:
                run.state, run.parked = before.state, before.parked
        return run

    def _known(self, key: str, horizon: Horizon) -> KeyRun[S]:
        found = None
        if self._has_snapshots:
            found = latest_snapshot(self._projection, self._snapshots, key, horizon.position)
        start, state = found or (None, None)
        run = self._run(key, horizon, state)
        version = 0 if start is None else start.version
        made: list[StateSnapshot] = []
        more = True
        try:
            while more:
                events = self._range(key, version, version + self._snapshot_interval, None)
                self._whole(key, version, events, horizon)
                within, cut = upto(events, horizon.position)
                made += run.take(within)
                self._check(run)
                version += self._snapshot_interval
                more = len(events) == self._snapshot_interval and not cut and run.parked is None
        finally:
            # Whoever had to fold where none was leaves them behind for the next one; also for one who gives up here,
            # who then gets further each time.
            self._leave(made, verified=start is None or start.verified)
        return run

    def _happened(self, key: str, horizon: Horizon) -> KeyRun[S]:
        assert horizon.happened_by_ms is not None
        last = self._archive.last_version(self._projection.stream, key, horizon.position)
        decided: list[EventRange] = []
        if self._has_snapshots:
            decided = self._decided(key, horizon.position, horizon.happened_by_ms)
        plan = plan_by_event_time(decided, last)
        start = self._snapshots.at(key, plan.position) if plan.version else None
        state = None if start is None else read_snapshot(self._projection, key, start)
        if plan.version and state is None:
            # Dropped between the two looks, or damaged: fold all of it.
            start, plan = None, plan_by_event_time([], last)
        run = self._run(key, horizon, state)
        if plan.ranges:
            # Only the beginning of a log is ever detached: if the first is there, all are.
            first = plan.ranges[0][0]
            self._whole(key, first, self._range(key, first, first + 1, None), horizon)
        made: list[StateSnapshot] = []
        whole_upto = plan.version
        try:
            for after, until in _steps(plan.ranges, self._snapshot_interval):
                events = self._range(key, after, until, horizon.happened_by_ms)
                passed = run.take(events)
                # As long as nothing is left out, the states are those of any horizon: where one was missing, or none
                # was ever left, the next read does not fold all this again.
                if after == whole_upto and len(events) == until - after:
                    made += passed
                    whole_upto = until
                self._check(run)
                if run.parked is not None:
                    break
        finally:
            self._leave(made, verified=start is None or start.verified)
        return run

    def _decided(self, key: str, position: int, by_ms: int) -> list[EventRange]:
        """Where no event has to be looked at. Checkpoints know the times as sent: none of a range had happened by then
        only if no clock can have been so far ahead."""
        happened = [one for one in self._snapshots.decided(key, position, by_ms) if one.happened]
        later = self._snapshots.decided(key, position, by_ms + MAX_AHEAD_MS)
        return sorted([*happened, *(one for one in later if not one.happened)])

    def _whole(self, key: str, after: int, events: Sequence[LoggedEvent], horizon: Horizon) -> None:
        """Raises Unresolvable if the key's next events were detached: a fold of the rest would be no state it had."""
        stream = self._projection.stream
        missing = (
            events[0].version != after + 1
            if events
            else self._archive.last_version(stream, key, horizon.position) > after
        )
        if missing:
            raise Unresolvable("log_begins_later", f"a part of the log with events of {key} was detached")

    def _leave(self, made: Sequence[StateSnapshot], *, verified: bool) -> None:
        # The answer stands without: a store that cannot be written to now, or never, must not cost it.
        with suppress(PortUnavailable, SinkRejected):
            if made:
                self._snapshots.save(made, verified=verified)

    @property
    def _has_snapshots(self) -> bool:
        # Rows are sums over the whole stream, so their states alone are no place to start from.
        return not self._projection.tables

    def _run(self, key: str, horizon: Horizon, state: S | None) -> KeyRun[S]:
        fold = Fold(self._projection, self._events.decode, lambda: horizon.at_ms, self._snapshot_interval)
        discarded = self._archive.discarded(self._projection.name)
        return KeyRun(fold, key, state, discarded)

    def _range(self, key: str, after: int, until: int, by_ms: int | None) -> list[LoggedEvent]:
        return self._events.key_range(self._projection.stream, key, after, until, by_ms)

    def _check(self, run: KeyRun[S]) -> None:
        if self._max_events is not None and run.events > self._max_events:
            raise TooLong(f"more than {self._max_events:,} events of one key would have to be folded")


def _steps(ranges: Sequence[tuple[int, int]], snapshot_interval: int) -> Iterator[tuple[int, int]]:
    """The ranges (after, upto] in parts of ``snapshot_interval`` versions."""
    for start, end in ranges:
        for after in range(start, end, snapshot_interval):
            yield after, min(after + snapshot_interval, end)


class ReplayStep(NamedTuple):
    """An event of the key, and its row right after it (ages relative to the horizon)."""

    version: int
    position: int
    row: dict[str, Any]


def steps(
    projection: Projection[Any],
    archive: Archive,
    snapshots: StateSnapshots,
    decode: Decode,
    key: str,
    horizon: Horizon,
    latest: int,
    limits: ViewLimits,
) -> Iterator[ReplayStep]:
    """After each of the ``latest`` events within ``horizon``, in the order of the log. Raises Unresolvable."""
    view = projection.view
    assert view is not None
    replay = KeyReplay(projection, archive, snapshots, decode)
    found = replay.at(key, horizon)
    if found is None or found.state is None:
        return
    last = int(view.row(key, view.features(found.state), horizon.at_ms, limits, True)["version"])
    first = max(0, last - latest)
    run = replay.run_from(key, first, horizon)
    happened = HappenedEvents(archive, decode)
    for after in range(first, last, SNAPSHOT_INTERVAL):
        chunk = happened.key_range(
            projection.stream, key, after, min(after + SNAPSHOT_INTERVAL, last), horizon.happened_by_ms
        )
        for event in upto(chunk, horizon.position)[0]:
            run.take([event])
            if run.state is not None:
                row = view.row(key, view.features(run.state), horizon.at_ms, limits, True)
                yield ReplayStep(event.version, event.position, row)
