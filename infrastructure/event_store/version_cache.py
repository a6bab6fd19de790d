"""Caches the version of each aggregate, for optimistic concurrency control without a query per rider."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID


class LastSeenEvent(NamedTuple):
    """The last event that a writer has seen. It identifies the log (invariant 14).

    ``recorded_at_ms``: epoch milliseconds. At position 0 there is no event, and nothing to compare.
    """

    position: int
    event_id: UUID | None = None
    recorded_at_ms: int = 0


class VersionCache:
    """Versions that are current at ``seen``, the last event of the log when this writer last read it.

    They are valid for a caller that holds the log's lock and finds the head at ``seen``. Otherwise it first merges the
    events recorded since. Versions only grow, so merging by maximum is correct in any order, from any thread. Bounded
    (invariant 15).
    """

    def __init__(self, maxsize: int = 200_000) -> None:
        self._versions: OrderedDict[UUID, int] = OrderedDict()
        self._maxsize = maxsize
        self._mutex = threading.Lock()
        self.seen: LastSeenEvent | None = None

    def forget(self, seen: LastSeenEvent) -> None:
        """Clears the cache and continues from ``seen``."""
        with self._mutex:
            self._versions.clear()
            self.seen = seen

    def unknown(self, aggregates: Iterable[UUID]) -> list[UUID]:
        with self._mutex:
            return [aggregate for aggregate in aggregates if aggregate not in self._versions]

    def known(self, aggregates: Iterable[UUID]) -> dict[UUID, int]:
        """Returns the cached versions of ``aggregates``. -1 means an empty stream; unknown aggregates are absent."""
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
