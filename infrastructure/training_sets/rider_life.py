"""One rider along the clock of an axis: the speed state as of any instant, and what each event changes in the traffic.

Two folds share one decoding, which is the greater part of the cost of an event. Pure, except for ``decode``.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

from domain.events.contracts import UndecodableError
from domain.features.event_time import MAX_AHEAD_MS, effective_time_ms
from domain.features.keyed_event import KeyedEvent
from domain.features.partials import MAX_AMOUNT
from domain.features.speed.window import SpeedState
from domain.features.traffic.changes import TrafficChange, changes
from domain.features.traffic.fold import TrafficState
from projections.core.fold import Decode
from projections.core.ports import LoggedEvent
from projections.replay.archive import TimedEvent
from projections.speed import SPEED
from projections.traffic import TRAFFIC

CACHED_EVENTS = 1_000
"""Latest events of a rider that are kept with the states after them: among those an event is inserted without a read
of the log."""


class FoldOptions(NamedTuple):
    """What the folds of all riders share. ``wants_speed``: whether a row needs the rider at all.

    ``encode_each``: encode both states after each event, to find the event after which one cannot be.
    """

    decode: Decode
    discarded_speed: frozenset[int]
    discarded_traffic: frozenset[int]
    encode_each: bool = False


class RiderState(NamedTuple):
    """Both states after some events; None before the first. A parked state no longer changes, as in live folding."""

    speed: SpeedState | None = None
    traffic: TrafficState | None = None
    speed_parked: bool = False
    traffic_parked: bool = False

    def encoded(self) -> bytes | None:
        """The bytes of the speed state. Raises what its encoding raises."""
        return None if self.speed is None else SPEED.encode(self.speed)


START = RiderState()
Changes = Sequence[TrafficChange]
Record = Mapping[str, Any] | None
_FOLD_SPEED, _FOLD_TRAFFIC = SPEED.fold, TRAFFIC.fold


def step(state: RiderState, event: LoggedEvent, options: FoldOptions, wants_speed: bool) -> tuple[RiderState, Changes]:
    """Fold one event. Raises what ``decode`` raises while the schema registry is unavailable."""
    return _step(state, event, _record(event, options.decode), options, wants_speed)


def _record(event: LoggedEvent, decode: Decode) -> Record:
    """The decoded payload; None if it cannot be decoded."""
    try:
        return decode(event.payload)
    except UndecodableError:
        return None


def _step(
    state: RiderState, event: LoggedEvent, data: Record, options: FoldOptions, wants_speed: bool
) -> tuple[RiderState, Changes]:
    _, discarded_speed, discarded_traffic, encode_each = options
    speed, traffic, speed_parked, traffic_parked = state
    position, _, _, key, version, event_type, _ = event
    if data is None:
        return RiderState(
            speed,
            traffic,
            speed_parked or position not in discarded_speed,
            traffic_parked or position not in discarded_traffic,
        ), ()
    keyed = KeyedEvent(key, version, position, event_type, data)
    if wants_speed and not speed_parked and position not in discarded_speed:
        try:
            new_speed = _FOLD_SPEED(SPEED.initial if speed is None else speed, keyed)
            if encode_each:
                SPEED.encode(new_speed)
            speed = new_speed
        except Exception:  # noqa: BLE001  (any error of a fold parks its key, as in live folding: invariant 10)
            speed_parked = True
    found: Changes = ()
    if not traffic_parked and position not in discarded_traffic:
        try:
            before = TRAFFIC.initial if traffic is None else traffic
            new_traffic = _FOLD_TRAFFIC(before, keyed)
            # Half of the pings fall into a slot that has its fix: the sums are then the same object.
            if new_traffic.buckets is not before.buckets:
                found = _checked(changes(before, new_traffic))
            if encode_each:
                TRAFFIC.encode(new_traffic)
            traffic = new_traffic
        except Exception:  # noqa: BLE001  (as above)
            traffic_parked, found = True, ()
    return RiderState(speed, traffic, speed_parked, traffic_parked), found


def _checked(found: list[TrafficChange]) -> list[TrafficChange]:
    """Raises ValueError for a change that no sink can apply: its key is parked."""
    for bucket, _, _, ms, mm, _ in found:
        if bucket < 0 or bucket > MAX_AMOUNT or abs(ms) > MAX_AMOUNT or abs(mm) > MAX_AMOUNT:
            raise ValueError("an impossible change of traffic")
    return found


class Folded(NamedTuple):
    """After one clock: the state, and what the event changed in the traffic."""

    clock: int
    state: RiderState
    changes: Changes


def follow_log(
    events: Iterable[TimedEvent],
    clock: Callable[[TimedEvent], int],
    options: FoldOptions,
    wants_speed: Callable[[], bool],
) -> Iterator[Folded]:
    """Each event in log order, for the axes whose clock ascends with the log."""
    state, decode = START, options.decode
    for timed in events:
        event = timed.event
        state, found = _step(state, event, _record(event, decode), options, wants_speed())
        yield Folded(clock(timed), state, found)


class _Kept(NamedTuple):
    event: LoggedEvent
    state: RiderState
    changes: Changes


class EventTimeline:
    """Events of a rider in the order in which they happened, each inserted in log order, with the states after it.

    The states equal those of a fold of all events that had happened by then, in log order: the axis event.
    ``from_log(clock)`` returns all events that had happened by a clock, by version. It is called if an event belongs
    before all kept ones.
    """

    def __init__(
        self,
        options: FoldOptions,
        wants_speed: bool,
        from_log: Callable[[int], Iterable[LoggedEvent]],
        cached_events: int = CACHED_EVENTS,
    ) -> None:
        self._options = options
        self._wants_speed = wants_speed
        self._from_log = from_log
        self._cached_events = cached_events
        self._kept: list[_Kept] = []
        self._before = START
        self._first = 0
        """The highest version of the events that ``_before`` holds."""
        self._sums: dict[tuple[int, int, int], list[int]] = {}
        """All changes so far by bucket, cell and octant."""

    def insert(self, clock: int, event: LoggedEvent, data: Record) -> Folded:
        """Insert the next event, which happened at ``clock``. ``data``: its record, None if it cannot be decoded."""
        kept = self._kept
        version = event.version
        if version <= self._first:
            return Folded(clock, *self._refold(clock))
        if not kept or kept[-1].event.version < version:  # nearly every event
            state, found = _step(self._last, event, data, self._options, self._wants_speed)
            kept.append(_Kept(event, state, found))
        else:
            state, found = self._inserted(event)
        if len(kept) > 2 * self._cached_events:
            out = len(kept) - self._cached_events
            self._before, self._first = kept[out - 1].state, kept[out - 1].event.version
            del kept[:out]
        if found:
            self._add(found)
        return Folded(clock, state, found)

    def _inserted(self, event: LoggedEvent) -> tuple[RiderState, Changes]:
        """Fold the kept events after ``event`` again."""
        place = bisect(self._kept, event.version, key=lambda kept: kept.event.version)
        later = [kept.event for kept in self._kept[place:]]
        found = [_reversed(change) for kept in self._kept[place:] for change in kept.changes]
        del self._kept[place:]
        for one in (event, *later):
            state, changed = step(self._last, one, self._options, self._wants_speed)
            self._kept.append(_Kept(one, state, changed))
            found += changed
        return self._last, found

    @property
    def _last(self) -> RiderState:
        return self._kept[-1].state if self._kept else self._before

    def _refold(self, clock: int) -> tuple[RiderState, Changes]:
        sums, self._sums, self._kept = self._sums, {}, []
        state = START
        for event in self._from_log(clock):
            state, changed = step(state, event, self._options, self._wants_speed)
            self._add(changed)
            self._first = event.version
        self._before = state
        found: list[TrafficChange] = []
        for key in {**sums, **self._sums}:
            old, new = sums.get(key, [0, 0, 0]), self._sums.get(key, [0, 0, 0])
            if old != new:
                found.append(TrafficChange(*key, *(b - a for a, b in zip(old, new, strict=True))))
        return state, found

    def _add(self, changed: Iterable[TrafficChange]) -> None:
        for bucket, cell, octant, *amounts in changed:
            held = self._sums.setdefault((bucket, cell, octant), [0, 0, 0])
            for n, amount in enumerate(amounts):
                held[n] += amount


def follow_event_time(events: Iterable[TimedEvent], timeline: EventTimeline, decode: Decode) -> Iterator[Folded]:
    """Each event at its effective time. ``events`` come by (time as sent, version).

    An effective time is at most ``MAX_AHEAD_MS`` before the time as sent, so an event waits here until no earlier one
    can follow.
    """
    waiting: list[tuple[int, int, LoggedEvent, Record]] = []
    for event, sent_ms, _ in events:
        data = _record(event, decode)
        while waiting and waiting[0][0] < sent_ms - MAX_AHEAD_MS:
            happened_ms, _, earlier, of_earlier = heappop(waiting)
            yield timeline.insert(happened_ms, earlier, of_earlier)
        heappush(waiting, (_effective_ms(data, sent_ms), event.version, event, data))
    while waiting:
        happened_ms, _, earlier, of_earlier = heappop(waiting)
        yield timeline.insert(happened_ms, earlier, of_earlier)


def _effective_ms(data: Record, sent_ms: int) -> int:
    if data is None:
        return sent_ms
    try:
        return effective_time_ms(data)
    except KeyError:
        return sent_ms


def _reversed(change: TrafficChange) -> TrafficChange:
    bucket, cell, octant, ms, mm, riders = change
    return TrafficChange(bucket, cell, octant, -ms, -mm, -riders)
