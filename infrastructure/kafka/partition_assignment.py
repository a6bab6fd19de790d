"""The partitions that a consumer holds, their epochs and the next offsets; every consumer uses it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

SESSION_TIMEOUT_S = 6.0
"""After this time the partitions of a silent consumer go to the others. The shortest value that Apache Kafka accepts by
default; the embedded broker delays every join of a group by half of it."""
MAX_POLL_INTERVAL_S = 600.0
"""After this time a consumer that runs but does not poll loses its partitions. Longer than any batch."""


class Assignment:
    """The assignment of one consumer. Not thread-safe: only the polling thread changes it."""

    def __init__(self) -> None:
        self._epoch = 0
        self._epochs: Mapping[int, int] = {}
        self._next: dict[int, int] = {}

    @property
    def epochs(self) -> Mapping[int, int]:
        """Partition -> epoch. Every change makes a new mapping, so a caller may keep the old one to compare."""
        return self._epochs

    def assigned(self, partitions: Iterable[int]) -> None:
        """Record that these are held from now on, under a new epoch even if they were held before."""
        self._epoch += 1
        fresh = set(partitions)
        self._epochs = {**self._epochs, **dict.fromkeys(fresh, self._epoch)}
        self._forget(fresh)

    def revoked(self, partitions: Iterable[int]) -> None:
        """Record that these are not held any more."""
        lost = set(partitions)
        self._epochs = {p: epoch for p, epoch in self._epochs.items() if p not in lost}
        self._forget(lost)

    def sought(self, partition: int) -> None:
        """Record a seek: any next offset of ``partition`` is expected."""
        self._forget({partition})

    def read(self, partition: int, offset: int) -> None:
        """Record that a record was read.

        An offset below the expected one means that the broker's log is not the one read before: it was wiped or
        truncated, and the client restarted at its beginning. Records may have been missed in between, so the partition
        gets a new epoch and its reader catches up from the event store. Offsets that jump forward are left to the
        reader, which detects the gap in seq.
        """
        if offset < self._next.get(partition, 0):
            self._epoch += 1
            self._epochs = {**self._epochs, partition: self._epoch}
        self._next[partition] = offset + 1

    def _forget(self, partitions: set[int]) -> None:
        for partition in partitions:
            self._next.pop(partition, None)
