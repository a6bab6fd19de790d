"""How long after the log its read model is read, so that most of what is new is folded by then."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

STEP_S: Final = 0.01
TOO_EARLY: Final = 0.1
"""Share of keys that were read in vain in the turn before, from which reads are too early."""
TOO_LATE: Final = 0.02
"""Share up to which reads may be earlier."""


class ReadDelay:
    """Finds the delay at which few keys are read before they are folded, by what the last reads found.

    A key that is read too early is read again in the next turn. The delay makes the keys of a turn no later on average:
    without it, those that are not folded yet come a whole turn later. A key that is never folded, as that of a parked
    rider, has no part in it.
    """

    def __init__(self, most_s: float) -> None:
        """``most_s``: the longest delay, in seconds."""
        self._most_s = most_s
        self._seconds = 0.0
        self._in_vain: set[str] = set()

    @property
    def seconds(self) -> float:
        """The delay of the next read."""
        return self._seconds

    def note(self, read: Iterable[str], ended: Collection[str]) -> None:
        """Take over the keys of one read, and those of them that had what they waited for."""
        again = len(self._in_vain.intersection(ended))
        self._in_vain = set(read).difference(ended)
        if again > TOO_EARLY * len(ended):
            self._seconds = min(self._most_s, self._seconds + STEP_S)
        elif again <= TOO_LATE * len(ended):
            self._seconds = max(0.0, self._seconds - STEP_S)
