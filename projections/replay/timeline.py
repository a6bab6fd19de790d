"""A key along time: its state at each tick, from one pass over its events.

On the axis known, events come in the order of recording. On the axis event, they come in the order in which they
happened. Each is inserted in log order, and the events after it are refolded. Each tick therefore equals a replay as of
that instant.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from typing import Generic, NamedTuple, TypeVar

from domain.features.event_time import MAX_AHEAD_MS
from projections.core.ports import LoggedEvent, ParkedEvent
from projections.replay.archive import TimedEvent
from projections.replay.key_replay import KeyFold

S = TypeVar("S")

CACHED_STATES = 1_000
"""Latest events of a key that are cached with the states after them; among those an event is inserted without a read
of the log."""


def known_states(of: KeyFold[S], events: Iterable[TimedEvent], ticks: Iterable[int]) -> Iterator[tuple[int, S]]:
    """The key's state at each tick, from the first tick that has one. ``events`` come by version."""
    run = of.start()
    coming = iter(events)
    following = next(coming, None)
    for tick in ticks:
        batch: list[LoggedEvent] = []
        while following is not None and following.recorded_ms <= tick:
            batch.append(following.event)
            if len(batch) == CACHED_STATES:
                run.fold(batch)
                batch = []
            following = next(coming, None)
        if batch:
            run.fold(batch)
        if run.state is not None:
            yield tick, run.state


def happened_states(
    of: KeyFold[S],
    events: Iterable[TimedEvent],
    ticks: Iterable[int],
    from_log: Callable[[int], tuple[S | None, ParkedEvent | None]],
    cached_states: int = CACHED_STATES,
) -> Iterator[tuple[int, S]]:
    """The key's state at each tick by effective time. ``events`` come by (time as sent, version).

    An event that was sent as of later than a tick may have happened before it, so it waits here for its effective time.
    ``from_log(tick)`` refolds the key as of a tick and returns its state and its parked event. It is called if an event
    belongs before all cached ones.
    """
    run: _EventTimeline[S] = _EventTimeline(of, cached_states)
    coming = iter(events)
    following = next(coming, None)
    waiting: list[tuple[int, int, LoggedEvent]] = []
    for tick in ticks:
        while following is not None and following.event_ms <= tick + MAX_AHEAD_MS:
            event, sent_ms = following.event, following.event_ms
            happened_ms = sent_ms if sent_ms <= tick else of.fold.effective_time_ms(event, sent_ms)
            heappush(waiting, (happened_ms, event.version, event))
            following = next(coming, None)
        while waiting and waiting[0][0] <= tick:
            run.insert(heappop(waiting)[2])
        if run.too_early:
            run.restart(*from_log(tick))
        if run.state is not None:
            yield tick, run.state


class _FoldedState(NamedTuple, Generic[S]):
    state: S | None
    parked: ParkedEvent | None


class _EventTimeline(Generic[S]):
    """Events of a key, inserted one by one in log order, with the state after each."""

    def __init__(self, of: KeyFold[S], cached_states: int) -> None:
        self._cached_states = cached_states
        self._of = of
        self._events: list[LoggedEvent] = []
        self._after: list[_FoldedState[S]] = []
        self._before: _FoldedState[S] = _FoldedState(None, None)
        """The state after all events before the cached ones."""
        self._first = 0
        """The highest version of the events that ``_before`` holds."""
        self.too_early = False

    @property
    def state(self) -> S | None:
        return self._after[-1].state if self._after else self._before.state

    def insert(self, event: LoggedEvent) -> None:
        """Insert the next event. ``too_early`` is set if it belongs before all cached ones; ``restart`` clears it."""
        if event.version <= self._first:
            self.too_early = True
        if self.too_early:
            # The key is refolded at the tick; until then only the highest version matters.
            self._first = max(self._first, event.version)
            return
        place = bisect(self._events, event.version, key=lambda cached: cached.version)
        self._events.insert(place, event)
        del self._after[place:]
        for later in self._events[place:]:
            self._after.append(self._folded(later))
        if len(self._events) > 2 * self._cached_states:
            out = len(self._events) - self._cached_states
            self._before, self._first = self._after[out - 1], self._events[out - 1].version
            del self._events[:out], self._after[:out]

    def restart(self, state: S | None, parked: ParkedEvent | None) -> None:
        """Continue from a state that holds every event inserted so far."""
        self._first = max([self._first, *(e.version for e in self._events)])
        self._before, self.too_early = _FoldedState(state, parked), False
        self._events.clear()
        self._after.clear()

    def _folded(self, event: LoggedEvent) -> _FoldedState[S]:
        last = self._after[-1] if self._after else self._before
        if last.parked is not None:
            return last
        run = self._of.start(last.state)
        run.fold([event])
        return _FoldedState(run.state, run.parked)
