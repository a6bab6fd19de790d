"""What version each aggregate is at, as far as this writer knows: concurrency control without a look-up per rider."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from uuid import UUID


class VersionCache:
    """Versions known to be current at ``head``, the last position this writer has seen.

    Whoever holds the log's lock and finds the head unmoved may trust it; else it first merges what was recorded in
    between. Versions only grow, so merging by maximum is right in any order, from any thread. Bounded (invariant 15).
    """

    def __init__(self, maxsize: int = 200_000) -> None:
        self._versions: OrderedDict[UUID, int] = OrderedDict()
        self._maxsize = maxsize
        self._mutex = threading.Lock()
        self.head: int | None = None

    def forget(self, head: int) -> None:
        """Start again at ``head`` with nothing known."""
        with self._mutex:
            self._versions.clear()
            self.head = head

    def unknown(self, aggregates: Iterable[UUID]) -> list[UUID]:
        with self._mutex:
            return [aggregate for aggregate in aggregates if aggregate not in self._versions]

    def known(self, aggregates: Iterable[UUID]) -> dict[UUID, int]:
        """Versions of those that are known; 0 … stands for what the store holds, -1 for an empty stream."""
        with self._mutex:
            return {a: self._versions[a] for a in aggregates if a in self._versions}

    def merge(self, versions: Mapping[UUID, int], head: int | None = None) -> None:
        with self._mutex:
            for aggregate, version in versions.items():
                old = self._versions.pop(aggregate, -1)
                self._versions[aggregate] = max(old, version)
            while len(self._versions) > self._maxsize:
                self._versions.popitem(last=False)
            if head is not None:
                self.head = head if self.head is None else max(self.head, head)
