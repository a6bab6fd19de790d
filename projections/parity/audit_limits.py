"""Bounds the audit of the city: the events that one step folds, and the states in memory (invariant 15)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from domain.identifiers import shard_of

MAX_STATE_BYTES = 64 * 2**20
"""Bounds the encoded states in memory. The state of a key that was dropped is folded from its events when needed."""


@dataclass
class FoldBudget:
    """How much one step of the audit may fold: so many events, until ``is_over``."""

    events: int = 1 << 62
    is_over: Callable[[], bool] = lambda: False

    def is_spent(self) -> bool:
        """Whether nothing more may be folded."""
        return self.events <= 0 or self.is_over()


class StateCache:
    """The encoded states of the keys used last, at most ``max_bytes`` of them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._states: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """The state; None if it is not in memory."""
        state = self._states.get(key)
        if state is not None:
            self._states.move_to_end(key)
        return state

    def by_shard(self) -> dict[int, dict[str, bytes]]:
        """The states by shard, those used last at the end."""
        found: dict[int, dict[str, bytes]] = {}
        for key, state in self._states.items():
            found.setdefault(shard_of(key), {})[key] = state
        return found

    def update(self, states: Mapping[str, bytes]) -> None:
        """Keep ``states``, and drop those that were not used for the longest time."""
        for key, state in states.items():
            self._bytes += len(state) - len(self._states.pop(key, b""))
            self._states[key] = state
        while self._bytes > self._max_bytes and self._states:
            self._bytes -= len(self._states.popitem(last=False)[1])
