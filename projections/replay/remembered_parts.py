"""Remembers folded parts of the streams of keys, few and not for long, so that instants near each other fold little.

A remembered state is the result of a fold: of the same events, from the same state. Before each use the log is asked
whether it still has the events (invariant 14), so that an answer is the same with and without this memory.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar
from uuid import UUID

from projections.core.ports import LoggedEvent
from projections.core.snapshots import SNAPSHOT_INTERVAL

S = TypeVar("S")
V = TypeVar("V")

MAX_PARTS: Final = 40
"""Parts that are remembered of all keys: 20,000 events, a day of one rider that sends every five seconds."""
MAX_AGE_S: Final = 600.0
"""Parts have places of a person. They are remembered for as long as a person looks at a rider."""


class KeyStep(NamedTuple, Generic[S]):
    """An event that counts, and the state after it; None before anything could be folded."""

    event: LoggedEvent
    state: S | None


class StreamPart(NamedTuple, Generic[S]):
    """The events of at most one snapshot interval, from its first version on without a gap.

    ``steps`` are those of the first events, folded from ``before``, each event folded and none left out. ``since_ms``:
    the instant from which each event counts by event time; empty before it was asked for. ``made``: what callers made
    of the steps.
    """

    events: tuple[LoggedEvent, ...]
    since_ms: tuple[int, ...]
    before: S | None
    steps: tuple[KeyStep[S], ...]
    made: dict[int, Any]


class _Entry(NamedTuple):
    log_id: UUID
    discarded: frozenset[int]
    part: StreamPart[Any]
    used_s: float


class RememberedParts(Generic[S]):
    """The memory for one projection. Safe to share between threads.

    A part is dropped by the next use of the memory after ``max_age_s`` without use, and the one that was used longest
    ago where there are more than ``max_parts`` (invariant 15).
    """

    def __init__(
        self,
        *,
        max_parts: int = MAX_PARTS,
        max_age_s: float = MAX_AGE_S,
        interval: int = SNAPSHOT_INTERVAL,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interval = interval
        self._max_parts = max_parts
        self._max_age_s = max_age_s
        self._monotonic = monotonic
        self._entries: OrderedDict[tuple[str, int], _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def of(self, key: str) -> UnconfirmedParts[S]:
        """What is remembered of ``key``, to be compared with the log before it is used."""
        with self._lock:
            oldest_s = self._monotonic() - self._max_age_s
            # The order is that of the last use.
            while self._entries and next(iter(self._entries.values())).used_s < oldest_s:
                self._entries.popitem(last=False)
            return UnconfirmedParts(self, key, {n: e for (of, n), e in self._entries.items() if of == key})

    def put(self, key: str, number: int, log_id: UUID, discarded: frozenset[int], part: StreamPart[S]) -> None:
        """Remember a part, or that it was used. Of two threads the last one wins: both parts are right."""
        with self._lock:
            self._entries[key, number] = _Entry(log_id, discarded, part, self._monotonic())
            self._entries.move_to_end((key, number))
            while len(self._entries) > self._max_parts:
                self._entries.popitem(last=False)

    def drop(self, key: str) -> None:
        """Forget all parts of ``key``."""
        with self._lock:
            for one in [one for one in self._entries if one[0] == key]:
                del self._entries[one]


class UnconfirmedParts(Generic[S]):
    """What is remembered of one key, at the begin of one replay."""

    def __init__(self, memory: RememberedParts[S], key: str, entries: Mapping[int, _Entry]) -> None:
        self._memory = memory
        self._key = key
        self._entries = entries

    def ends(self) -> list[LoggedEvent]:
        """The first and the last event that is remembered.

        A log that still has both has all events between: only the beginning of a log is detached, and a restore
        changes all events from some position on.
        """
        if not self._entries:
            return []
        first, last = self._entries[min(self._entries)].part, self._entries[max(self._entries)].part
        return [first.events[0], last.events[-1]]

    def confirmed(self, log_id: UUID, discarded: frozenset[int], last: int, *, has_ends: bool) -> KeyParts[S]:
        """The parts that may be used for a log, from which the projection skips ``discarded``.

        ``last``: the version of the key's last event that the replay may need. ``has_ends``: whether the log has
        ``ends()``, at their positions and with their payloads.
        """
        if not has_ends:
            self._memory.drop(self._key)
        # A discarded event changes the states after it, also of later parts.
        same = {n: e.part for n, e in self._entries.items() if (e.log_id, e.discarded) == (log_id, discarded)}
        return KeyParts(self._memory, self._key, log_id, discarded, last, same if has_ends else {})


class KeyParts(Generic[S]):
    """The remembered parts of one key during one replay. For one thread."""

    def __init__(
        self,
        memory: RememberedParts[S],
        key: str,
        log_id: UUID,
        discarded: frozenset[int],
        last: int,
        parts: dict[int, StreamPart[S]],
    ) -> None:
        self.interval = memory.interval
        self.last = last
        self._memory = memory
        self._of = key, log_id, discarded
        self._parts = parts

    def get(self, number: int) -> StreamPart[S]:
        """The events with versions above ``number`` intervals that are remembered; maybe none."""
        part = self._parts.get(number)
        return StreamPart((), (), None, (), {}) if part is None else self._put(number, part)

    def extend(self, number: int, events: Sequence[LoggedEvent]) -> StreamPart[S]:
        """Remember the events that follow those of the part."""
        part = self.get(number)
        return self._put(number, part._replace(events=(*part.events, *events))) if events else part

    def timed(self, number: int, since_ms: Callable[[LoggedEvent], int]) -> StreamPart[S]:
        """The part with the instants from which its events count. Raises what ``since_ms`` raises."""
        part = self.get(number)
        new = part.events[len(part.since_ms) :]
        if not new:
            return part
        return self._put(number, part._replace(since_ms=(*part.since_ms, *map(since_ms, new))))

    def known(self, before: S | None, events: Sequence[LoggedEvent]) -> Sequence[KeyStep[S]]:
        """The steps of the first of ``events`` when they are folded from ``before``, as far as they are remembered."""
        part = self._part_of(events)
        if part is None or part.before != before:
            return ()
        return part.steps[: _same(events, [step.event for step in part.steps])]

    def keep(self, before: S | None, steps: Sequence[KeyStep[S]]) -> None:
        """Remember the steps of events of one part, folded from ``before``: those before the first that was left out.

        Each event was folded: a state after a parked or discarded one is not that of its event.
        """
        events = [step.event for step in steps]
        part = self._part_of(events)
        if part is None:
            return
        count = _same(events, part.events)
        if part.before != before:
            part = part._replace(before=before, steps=(), made={})
        if count > len(part.steps):
            added = (*part.steps, *steps[len(part.steps) : count])
            self._put((events[0].version - 1) // self.interval, part._replace(steps=added))

    def of_step(self, step: KeyStep[S], make: Callable[[KeyStep[S]], V]) -> V:
        """What ``make``, a function of the step alone, makes of it. Raises what ``make`` raises."""
        number, index = divmod(step.event.version - 1, self.interval)
        part = self._parts.get(number)
        if part is None or index >= len(part.steps) or part.steps[index] is not step:
            return make(step)
        if index not in part.made:
            part.made[index] = make(step)
        found: V = part.made[index]
        return found

    def _part_of(self, events: Sequence[LoggedEvent]) -> StreamPart[S] | None:
        """The part that begins with the first of ``events``."""
        number, index = divmod(events[0].version - 1, self.interval) if events else (0, 1)
        part = self._parts.get(number) if index == 0 else None
        return part if part is not None and part.events[0] is events[0] else None

    def _put(self, number: int, part: StreamPart[S]) -> StreamPart[S]:
        key, log_id, discarded = self._of
        self._parts[number] = part
        self._memory.put(key, number, log_id, discarded, part)
        return part


def _same(events: Sequence[LoggedEvent], others: Sequence[LoggedEvent]) -> int:
    """How many of the first events are the same objects: equal ones of another reading would have to be compared."""
    count = 0
    for one, other in zip(events, others, strict=False):
        if one is not other:
            break
        count += 1
    return count
