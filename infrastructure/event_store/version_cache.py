"""What version each aggregate is at, as far as this writer knows: concurrency control without a look-up per rider."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID


class LastSeenEvent(NamedTuple):
    """The last event that a writer has seen, by which it knows the log again (invariant 14).

    ``recorded_at_ms``: epoch milliseconds. At position 0 there is no event, and nothing to know again.
    """

    position: int
    event_id: UUID | None = None
    recorded_at_ms: int = 0


class VersionCache:
    """Versions known to be current at ``seen``, where the log ended when this writer last looked.

    Whoever holds the log's lock and finds the head unmoved may trust it; else it first merges what was recorded in
    between. Versions only grow, so merging by maximum is right in any order, from any thread. Bounded (invariant 15).
    """

    def __init__(self, maxsize: int = 200_000) -> None:
        self._versions: OrderedDict[UUID, int] = OrderedDict()
        self._maxsize = maxsize
        self._mutex = threading.Lock()
        self.seen: LastSeenEvent | None = None

    def forget(self, seen: LastSeenEvent) -> None:
        """Start again at ``seen`` with nothing known."""
        with self._mutex:
            self._versions.clear()
            self.seen = seen

    def unknown(self, aggregates: Iterable[UUID]) -> list[UUID]:
        with self._mutex:
            return [aggregate for aggregate in aggregates if aggregate not in self._versions]

    def known(self, aggregates: Iterable[UUID]) -> dict[UUID, int]:
        """Versions of those that are known; 0 … stands for what the store holds, -1 for an empty stream."""
        with self._mutex:
            return {a: self._versions[a] for a in aggregates if a in self._versions}

    def merge(self, versions: Mapping[UUID, int], seen: LastSeenEvent | None = None) -> None:
        with self._mutex:
            for aggregate, version in versions.items():
                old = self._versions.pop(aggregate, -1)
                self._versions[aggregate] = max(old, version)
            while len(self._versions) > self._maxsize:
                self._versions.popitem(last=False)
            if seen is not None and (self.seen is None or seen.position > self.seen.position):
                self.seen = seen
