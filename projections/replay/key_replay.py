"""Replays one key: the state that serving had, or would have had, as of a horizon, by the same fold that serves.

A replay starts at a state snapshot and folds the few hundred events after it, however long the key's stream is.
``steps`` yields the values after each of the latest events, to follow them or to compare them with another fold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

from domain.features.event_time import MAX_AHEAD_MS
from domain.identifiers import shard_of
from projections.core.fold import Fold
from projections.core.ports import LoggedEvent, ParkedEvent, PortUnavailable, SinkRejected
from projections.core.projection import Projection
from projections.core.snapshots import SNAPSHOT_INTERVAL, EventRange, StateSnapshot, StateSnapshots, plan_by_event_time
from projections.core.state_codec import latest_snapshot, read_snapshot
from projections.replay.as_of import Horizon, Unresolvable, upto
from projections.replay.event_axis import HappenedEvents
from projections.replay.source import ReplaySource
from read_models.rows import RowChange, Rows, merge_into
from read_models.view import ViewLimits

S = TypeVar("S")


class TooLong(Exception):
    """More events would have to be folded than the caller allows. Nothing is wrong with the events."""


class Replayed(NamedTuple, Generic[S]):
    """A key as of a horizon: its state, None if nothing could be folded; and its rows, of a projection with tables.

    ``parked`` is the event at which the key is parked; the state is the one before it. ``events`` is the number folded.
    """

    state: S | None
    rows: list[RowChange]
    parked: ParkedEvent | None
    events: int


class KeyFold(NamedTuple, Generic[S]):
    """How one key is folded: the fold of its projection, without the discarded positions."""

    fold: Fold[S]
    key: str
    discarded: frozenset[int]

    def start(self, state: S | None = None) -> KeyRun[S]:
        """A run that continues from ``state``; None: from the key's first event."""
        return KeyRun(self.fold, self.key, state, self.discarded)


class KeyRun(Generic[S]):
    """Folds one key incrementally. Once parked it no longer changes, as in live folding."""

    def __init__(self, fold: Fold[S], key: str, state: S | None, discarded: frozenset[int]) -> None:
        self.state = state
        self.rows: Rows = {}
        self.parked: ParkedEvent | None = None
        self.events = 0
        self._fold = fold
        self._key = key
        self._discarded = discarded

    def fold(self, events: Sequence[LoggedEvent]) -> Sequence[StateSnapshot]:
        """Fold the next events of the key. Returns the state snapshots at the versions passed."""
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

    Without ``snapshots``, every replay starts at the key's first event. ``max_events`` bounds the events folded for one
    answer (invariant 15).
    """

    def __init__(
        self,
        source: ReplaySource[S],
        snapshots: StateSnapshots | None = None,
        *,
        max_events: int | None = None,
        snapshot_interval: int = SNAPSHOT_INTERVAL,
    ) -> None:
        self._projection = source.projection
        self._archive = source.archive
        # Rows are sums over the whole stream, so a replay of a projection with tables cannot start at a state.
        self._snapshots = snapshots if source.projection.starts_at_snapshots else None
        self._events = HappenedEvents(source.archive, source.decode)
        self._max_events = max_events
        self._snapshot_interval = snapshot_interval

    def at(self, key: str, horizon: Horizon) -> Replayed[S] | None:
        """Replay ``key`` as of ``horizon``; None if it has no event within the horizon.

        Raises TooLong; Unresolvable if its events were detached, or may have been, since none is left of it and the
        beginning of its shard was detached.
        """
        run = (
            self._replay_known(key, horizon) if horizon.happened_by_ms is None else self._replay_happened(key, horizon)
        )
        return run.result() if run.events or run.state is not None else None

    def check_not_detached(self, key: str, horizon: Horizon) -> None:
        """Raises Unresolvable if the key's first events were detached, or may have been."""
        self._require_attached(key, 0, self._range(key, 0, 1, None), horizon)

    def run_from(self, key: str, version: int, horizon: Horizon) -> KeyRun[S]:
        """A run that has folded all events that count up to ``version``; the key has later events.

        Raises Unresolvable if the next event was detached: the rest alone would give states that the key never had.
        """
        following = self._range(key, version, version + 1, None)
        self._require_attached(key, version, following, horizon)
        run = self._run(key, horizon, None, version)
        if version and following:
            before = self.at(key, horizon._replace(position=min(horizon.position, following[0].position - 1)))
            if before is not None:
                run.state, run.parked = before.state, before.parked
        return run

    def _replay_known(self, key: str, horizon: Horizon) -> KeyRun[S]:
        found = None
        if self._snapshots is not None:
            found = latest_snapshot(self._projection, self._snapshots, key, horizon.position)
        start, state = found or (None, None)
        version = 0 if start is None else start.version
        run = self._run(key, horizon, state, version)
        made: list[StateSnapshot] = []
        more = True
        try:
            while more:
                events = self._range(key, version, version + self._snapshot_interval, None)
                self._require_attached(key, version, events, horizon)
                within, cut = upto(events, horizon.position)
                made += run.fold(within)
                self._check_length(run)
                version += self._snapshot_interval
                more = len(events) == self._snapshot_interval and not cut and run.parked is None
        finally:
            # Save the snapshots made on the way, so that the next replay starts later. This also holds if the replay
            # gives up here (TooLong): each further attempt gets further.
            self._save_snapshots(made, verified=start is None or start.verified)
        return run

    def _replay_happened(self, key: str, horizon: Horizon) -> KeyRun[S]:
        assert horizon.happened_by_ms is not None
        last = self._archive.last_version(self._projection.stream, key, horizon.position)
        snapshots = self._snapshots
        decided = [] if snapshots is None else _decided(snapshots, key, horizon.position, horizon.happened_by_ms)
        plan = plan_by_event_time(decided, last)
        start = snapshots.at(key, plan.position) if snapshots is not None and plan.version else None
        state = None if start is None else read_snapshot(self._projection, key, start)
        if plan.version and state is None:
            # Dropped between the two queries, or damaged: fold everything.
            start, plan = None, plan_by_event_time([], last)
        run = self._run(key, horizon, state, plan.version)
        if plan.ranges or not last:
            # Only the beginning of a log is ever detached: if the first event exists, all later ones do.
            first = plan.ranges[0][0] if plan.ranges else plan.version
            self._require_attached(key, first, self._range(key, first, first + 1, None), horizon)
        made: list[StateSnapshot] = []
        whole_upto = plan.version
        try:
            for after, until in chunks(plan.ranges, self._snapshot_interval):
                events = self._range(key, after, until, horizon.happened_by_ms)
                passed = run.fold(events)
                # As long as no event is left out, the states are those of every horizon. They are saved, so that the
                # next replay does not fold these events again.
                if after == whole_upto and len(events) == until - after:
                    made += passed
                    whole_upto = until
                self._check_length(run)
                if run.parked is not None:
                    break
        finally:
            self._save_snapshots(made, verified=start is None or start.verified)
        return run

    def _require_attached(self, key: str, after: int, events: Sequence[LoggedEvent], horizon: Horizon) -> None:
        """Raises Unresolvable if the key's next events were detached: the rest alone gives states that it never had.

        Nor does a shard without its beginning show that a key is unknown: all of its events may have been detached.
        """
        if events:
            missing = events[0].version != after + 1
        else:
            last = self._archive.last_version(self._projection.stream, key, horizon.position)
            missing = last > after
            if not last and not self._is_whole(shard_of(key)):
                raise Unresolvable(
                    "log_begins_later",
                    f"no event of {key} is left, but events of its shard were detached, and may have been its own",
                )
        if missing:
            raise Unresolvable("log_begins_later", f"a part of the log with events of {key} was detached")

    def _is_whole(self, shard: int) -> bool:
        """Whether no event of the shard was detached: it has its first one, or never had any."""
        stream = self._projection.stream
        return bool(self._archive.shard_range(stream, shard, 0, 1, None)) or not self._archive.head(stream).seqs[shard]

    def _save_snapshots(self, made: Sequence[StateSnapshot], *, verified: bool) -> None:
        # The replay does not depend on them: a snapshot store that is unavailable or read-only must not fail it.
        with suppress(PortUnavailable, SinkRejected):
            if made and self._snapshots is not None:
                self._snapshots.save(made, verified=verified)

    def _run(self, key: str, horizon: Horizon, state: S | None, _version: int) -> KeyRun[S]:
        """A run that continues from ``state``, which is that after ``_version``."""
        discarded = self._archive.discarded(self._projection.name)
        return KeyRun(self._fold(self._projection, horizon), key, state, discarded)

    def _fold(self, projection: Projection[S], horizon: Horizon) -> Fold[S]:
        return Fold(projection, self._events.decode, lambda: horizon.at_ms, self._snapshot_interval)

    def _range(self, key: str, after: int, until: int, by_ms: int | None) -> list[LoggedEvent]:
        return self._events.key_range(self._projection.stream, key, after, until, by_ms)

    def _check_length(self, run: KeyRun[S]) -> None:
        if self._max_events is not None and run.events > self._max_events:
            raise TooLong(f"more than {self._max_events:,} events of one key would have to be folded")


def _decided(snapshots: StateSnapshots, key: str, position: int, by_ms: int) -> list[EventRange]:
    """Ranges of versions whose events need not be read.

    Snapshots know the times as sent. So no event of a range had happened by then only if all were sent as of more
    than ``MAX_AHEAD_MS`` later: no accepted clock is further ahead.
    """
    return snapshots.decided(key, position, by_ms, by_ms + MAX_AHEAD_MS)


def chunks(ranges: Sequence[tuple[int, int]], snapshot_interval: int) -> Iterator[tuple[int, int]]:
    """Split the ranges (after, upto] into parts of at most ``snapshot_interval`` versions."""
    for start, end in ranges:
        for after in range(start, end, snapshot_interval):
            yield after, min(after + snapshot_interval, end)


class ReplayStep(NamedTuple):
    """An event of the key, and its row directly after it (ages relative to the horizon)."""

    version: int
    position: int
    row: dict[str, Any]


def steps(
    source: ReplaySource[Any],
    snapshots: StateSnapshots | None,
    key: str,
    horizon: Horizon,
    latest: int,
    limits: ViewLimits,
) -> Iterator[ReplayStep]:
    """The row after each of the ``latest`` events within ``horizon``, in log order. Raises Unresolvable."""
    projection = source.projection
    view = projection.view
    assert view is not None
    replay = KeyReplay(source, snapshots)
    found = replay.at(key, horizon)
    if found is None or found.state is None:
        return
    last = int(view.row(key, view.features(found.state), horizon.at_ms, limits, True)["version"])
    first = max(0, last - latest)
    run = replay.run_from(key, first, horizon)
    happened = HappenedEvents(source.archive, source.decode)
    for after in range(first, last, SNAPSHOT_INTERVAL):
        chunk = happened.key_range(
            projection.stream, key, after, min(after + SNAPSHOT_INTERVAL, last), horizon.happened_by_ms
        )
        for event in upto(chunk, horizon.position)[0]:
            run.fold([event])
            if run.state is not None:
                row = view.row(key, view.features(run.state), horizon.at_ms, limits, True)
                yield ReplayStep(event.version, event.position, row)
