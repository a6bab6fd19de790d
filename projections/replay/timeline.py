"""A key along time: its state at each tick, from one pass over its events.

On the axis known, events come as they were recorded. On the axis event, they come as they happened; one that was
recorded before others that happened earlier is put in its place in the order of the log, and what follows it there is
folded again: so each tick has exactly the state that a replay as of that instant gives.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from typing import Generic, NamedTuple, TypeVar

from domain.features.event_time import MAX_AHEAD_MS
from projections.core.fold import Fold
from projections.core.ports import LoggedEvent, ParkedEvent
from projections.replay.archive import TimedEvent
from projections.replay.key_replay import KeyRun

S = TypeVar("S")

CACHED_STATES = 1_000
"""Latest events of a key, with the states after them, that an event may be put between without asking the log."""


def known_states(
    fold: Fold[S], key: str, events: Iterable[TimedEvent], ticks: Iterable[int], discarded: frozenset[int]
) -> Iterator[tuple[int, S]]:
    """States of ``key``, whose events come by version, at each tick from the first at which there is one."""
    run: KeyRun[S] = KeyRun(fold, key, None, discarded)
    coming = iter(events)
    following = next(coming, None)
    for tick in ticks:
        batch: list[LoggedEvent] = []
        while following is not None and following.recorded_ms <= tick:
            batch.append(following.event)
            if len(batch) == CACHED_STATES:
                run.take(batch)
                batch = []
            following = next(coming, None)
        if batch:
            run.take(batch)
        if run.state is not None:
            yield tick, run.state


def happened_states(
    fold: Fold[S],
    key: str,
    events: Iterable[TimedEvent],
    ticks: Iterable[int],
    discarded: frozenset[int],
    from_log: Callable[[int], tuple[S | None, ParkedEvent | None]],
    kept: int = CACHED_STATES,
) -> Iterator[tuple[int, S]]:
    """The same by effective time: ``events`` come by (time as sent, version).

    An event that was sent as of later than a tick may have happened by then: it waits here until its time has come.
    ``from_log(tick)`` folds the key anew as of a tick (its state, and where it is parked): for an event that belongs
    before all that are kept here.
    """
    run: _PlacedEvent[S] = _PlacedEvent(fold, key, discarded, kept)
    coming = iter(events)
    following = next(coming, None)
    waiting: list[tuple[int, int, LoggedEvent]] = []
    for tick in ticks:
        while following is not None and following.event_ms <= tick + MAX_AHEAD_MS:
            event, sent_ms = following.event, following.event_ms
            happened_ms = sent_ms if sent_ms <= tick else fold.effective_time_ms(event, sent_ms)
            heappush(waiting, (happened_ms, event.version, event))
            following = next(coming, None)
        while waiting and waiting[0][0] <= tick:
            run.put(heappop(waiting)[2])
        if run.too_early:
            run.restart(*from_log(tick))
        if run.state is not None:
            yield tick, run.state


class _After(NamedTuple, Generic[S]):
    state: S | None
    parked: ParkedEvent | None


class _PlacedEvent(Generic[S]):
    """Events of a key put into the order of the log one by one, with the state after each."""

    def __init__(self, fold: Fold[S], key: str, discarded: frozenset[int], kept: int) -> None:
        self._kept = kept
        self._fold = fold
        self._key = key
        self._discarded = discarded
        self._events: list[LoggedEvent] = []
        self._after: list[_After[S]] = []
        self._before: _After[S] = _After(None, None)
        """What all events before the kept ones made."""
        self._first = 0
        """Versions up to here are in ``_before``, or were when it was folded."""
        self.too_early = False

    @property
    def state(self) -> S | None:
        return self._after[-1].state if self._after else self._before.state

    def put(self, event: LoggedEvent) -> None:
        if event.version <= self._first:
            self.too_early = True
        if self.too_early:
            # All is folded anew at the tick; until then it only matters how far the log is covered.
            self._first = max(self._first, event.version)
            return
        place = bisect(self._events, event.version, key=lambda kept: kept.version)
        self._events.insert(place, event)
        del self._after[place:]
        for again in self._events[place:]:
            self._after.append(self._folded(again))
        if len(self._events) > 2 * self._kept:
            out = len(self._events) - self._kept
            self._before, self._first = self._after[out - 1], self._events[out - 1].version
            del self._events[:out], self._after[:out]

    def restart(self, state: S | None, parked: ParkedEvent | None) -> None:
        """Go on from a state that holds every event put so far."""
        self._first = max([self._first, *(e.version for e in self._events)])
        self._before, self.too_early = _After(state, parked), False
        self._events.clear()
        self._after.clear()

    def _folded(self, event: LoggedEvent) -> _After[S]:
        last = self._after[-1] if self._after else self._before
        if last.parked is not None:
            return last
        run = KeyRun(self._fold, self._key, last.state, self._discarded)
        run.take([event])
        return _After(run.state, run.parked)
