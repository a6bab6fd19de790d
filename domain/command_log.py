"""The log as the commands of one process use it: every writer decides again when the log was restored."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from eventsourcing.persistence import StoredEvent

from domain.event_store import EventStoreRecorder, LogRestored, RecordedRef, Redecide

log = logging.getLogger("ridelog.aggregates")


class Cache(Protocol):
    """What is cached of the log."""

    def clear(self) -> None: ...


class CommandLog:
    """Appends what commands decide. All caches of the process are registered here, since a restore makes all wrong.

    ``on_log_restored`` is called when the log turns out to be another one, or an older state of it, before anything is
    decided again: whatever else is cached of the log must be dropped then.
    """

    def __init__(self, recorder: EventStoreRecorder, on_log_restored: Callable[[], None]) -> None:
        self.with_recorded_at = recorder.with_recorded_at
        self._append = recorder.append
        self._on_log_restored = on_log_restored
        self._caches: list[Cache] = []

    def register(self, cache: Cache) -> None:
        self._caches.append(cache)

    def append(self, decide: Callable[[], Sequence[StoredEvent]], redecide: Redecide) -> RecordedRef:
        """Append what ``decide`` returns; ``redecide`` is called inside the lock, as ``EventStoreRecorder`` says.

        Raises the library's PersistenceError if the batch could not be recorded.
        """
        try:
            return self._append(decide(), redecide)
        except LogRestored as error:
            # Every cached aggregate may have events that are not in the log, and lack others that are.
            log.error("%s: all aggregates are reloaded", error)
            for cache in self._caches:
                cache.clear()
            self._on_log_restored()
            return self._append(decide(), redecide)
