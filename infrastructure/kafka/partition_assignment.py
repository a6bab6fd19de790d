"""The partitions that a consumer holds, their epochs and the offsets that it expects: what every Topic shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

SESSION_TIMEOUT_S = 6.0
"""After this a silent consumer's partitions go to the others. The shortest that Apache Kafka takes by default; the
embedded broker makes every join of a group wait for half of it."""


class Assignment:
    """Not thread-safe: the thread that polls changes it."""

    def __init__(self) -> None:
        self._epoch = 0
        self._epochs: Mapping[int, int] = {}
        self._next: dict[int, int] = {}

    @property
    def epochs(self) -> Mapping[int, int]:
        """Partition -> epoch; a new mapping after every change, so that a caller may keep the old one to compare."""
        return self._epochs

    def assigned(self, partitions: Iterable[int]) -> None:
        """These are held from now on, under a new epoch even if they were held before."""
        self._epoch += 1
        fresh = set(partitions)
        self._epochs = {**self._epochs, **dict.fromkeys(fresh, self._epoch)}
        self._forget(fresh)

    def revoked(self, partitions: Iterable[int]) -> None:
        """These are somebody else's, or nobody's."""
        gone = set(partitions)
        self._epochs = {p: epoch for p, epoch in self._epochs.items() if p not in gone}
        self._forget(gone)

    def sought(self, partition: int) -> None:
        """The next offset of ``partition`` is where the caller wanted it to be."""
        self._forget({partition})

    def read(self, partition: int, offset: int) -> None:
        """A record was read.

        An offset lower than the next one means that the broker's log is not the one read before: it was wiped or
        truncated, and the client went back to its beginning. Records may have been missed in between, so the
        partition gets a new epoch and its reader catches up from the event store. Offsets that jump forward are
        left to the reader: it sees the gap in seq.
        """
        if offset < self._next.get(partition, 0):
            self._epoch += 1
            self._epochs = {**self._epochs, partition: self._epoch}
        self._next[partition] = offset + 1

    def _forget(self, partitions: set[int]) -> None:
        for partition in partitions:
            self._next.pop(partition, None)
