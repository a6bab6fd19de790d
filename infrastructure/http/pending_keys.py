"""Keys that changed in the log and wait until their read model has folded the change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

MAX_PENDING_KEYS: Final = 50_000
"""Bounds the memory of one set of keys (invariant 15)."""


class PendingKeys:
    """Keys with the position of their newest event, those first that were not read for longest.

    The order bounds how long a key waits for its turn: if the keys that were just read stayed in front, a read model
    that lags would keep all others from being read.
    """

    def __init__(self, most: int = MAX_PENDING_KEYS) -> None:
        self._most = most
        self._positions: OrderedDict[str, int] = OrderedDict()
        self.has_dropped = False

    def __len__(self) -> int:
        return len(self._positions)

    def note(self, changed: Mapping[str, int]) -> None:
        """Wait for these positions; a key that waits keeps its place. Above the bound the first keys are dropped."""
        self._positions.update(changed)
        while len(self._positions) > self._most:
            self._positions.popitem(last=False)
            self.has_dropped = True

    def first(self, count: int) -> list[str]:
        """The keys to read next."""
        return list(islice(self._positions, count))

    def wanted(self, key: str) -> int:
        """The position that the key waits for; 0 if it does not wait."""
        return self._positions.get(key, 0)

    def settle(self, read: Iterable[str], folded: Mapping[str, int]) -> list[str]:
        """End the wait of the keys that are ``folded`` up to what they wait for. The others wait behind all keys.

        Returns the keys whose wait ended.
        """
        positions = self._positions
        ended: list[str] = []
        for key in read:
            wanted = positions.get(key)
            if wanted is None:
                continue
            if folded.get(key, -1) >= wanted:
                del positions[key]
                ended.append(key)
            else:
                positions.move_to_end(key)
        return ended

    def clear(self) -> None:
        """Forget all keys, as after a replacement of the log."""
        self._positions.clear()
