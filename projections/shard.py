"""One shard of one generation inside a worker: where its fence stands, the states it has decoded, what is parked."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from projections.ports import Fence, LoggedEvent, Parked

S = TypeVar("S")


class ShardState(Generic[S]):
    """Decoded states are a cache: they are as of ``fence``, and dropped as soon as a compare-and-set is lost."""

    def __init__(self, fence: Fence, stored: Fence | None, parked: Mapping[str, Parked] | None = None) -> None:
        self.fence = fence
        self.stored = stored
        """What the sink holds: None before the first write, else equal to ``fence``."""
        marks = parked or {}
        self.parked: dict[str, Parked] = {key: mark for key, mark in marks.items() if mark.kind != "ahead"}
        """Keys that are passed over; who unparks one changes the fence's incarnation, so this cannot go stale."""
        self.ahead: dict[str, Parked] = {key: mark for key, mark in marks.items() if mark.kind == "ahead"}
        """Keys whose state holds events that lie behind the fence: it comes from a verified checkpoint."""
        self.seen_idle_at: int | None = None
        """The seq at which the last idle check found this shard; still there at the next one = a lost last record."""
        self._states: OrderedDict[str, S] = OrderedDict()

    def unfolded(self, events: Sequence[LoggedEvent]) -> Sequence[LoggedEvent]:
        """Those of ``events`` that their key's state does not hold yet."""
        if not self.ahead:
            return events
        held = {key: mark.version for key, mark in self.ahead.items()}
        return [event for event in events if event.version > held.get(event.key, 0)]

    def caught_up(self, events: Sequence[LoggedEvent]) -> list[str]:
        """Keys that are not ahead any more once ``events`` are passed."""
        return [e.key for e in events if e.key in self.ahead and e.version >= self.ahead[e.key].version]

    def missing(self, keys: set[str]) -> list[str]:
        return [key for key in keys if key not in self._states]

    def get(self, key: str) -> S | None:
        return self._states.get(key)

    def put(self, key: str, state: S) -> None:
        self._states[key] = state
        self._states.move_to_end(key)

    def trim(self, maxsize: int) -> None:
        while len(self._states) > maxsize:
            self._states.popitem(last=False)

    def advanced(self, fence: Fence) -> None:
        self.fence = self.stored = fence
