"""The event store's write side on the library's ApplicationRecorder port."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import ApplicationRecorder, Notification, StoredEvent
from sqlalchemy import Connection, Engine

from domain.event_store import LogRestored, RecordedRef, Redecide
from infrastructure.event_store import queries as reads
from infrastructure.event_store.aggregates import LogEvent, classified
from infrastructure.event_store.append import (
    EMPTY,
    conflicting,
    insert,
    integrity_error,
    latest_versions,
    pack,
    seen_at,
    versions_recorded_since,
)
from infrastructure.event_store.log_head import Clock, LogHeadRow, lock_head, read_head
from infrastructure.event_store.partitions import PartitionsAhead
from infrastructure.event_store.subscription import PollingSubscription
from infrastructure.event_store.version_cache import LastSeenEvent, VersionCache
from infrastructure.postgres.engine import terminating_overdue_backends
from infrastructure.postgres.errors import as_library_errors
from infrastructure.timestamps import now_ms

LARGEST_REFRESH = 50_000
"""With more events of other writers than this, looking up the aggregates is cheaper than reading those events."""


class EventRecorder(ApplicationRecorder):
    """Appends with contiguous position, seq and version under the log's one lock.

    ``insert_events`` is the library's all-or-nothing port. ``append`` resolves conflicts inside the lock, so that one
    conflict never aborts a batch. Safe for concurrent use by threads and by processes.
    """

    def __init__(self, engine: Engine, *, partition_rows: int = 10_000_000, clock: Clock = now_ms) -> None:
        self._engine = engine
        self._clock = clock
        self._versions = VersionCache()
        self._partitions = PartitionsAhead(partition_rows)

    def insert_events(self, stored_events: Sequence[StoredEvent], **_kwargs: Any) -> Sequence[int] | None:
        """Records all ``stored_events`` and returns their positions, or raises IntegrityError and records none."""
        plain = any(not isinstance(event, LogEvent) for event in stored_events)
        events = [classified(event) for event in stored_events]
        positions, _ = self._append(events, None, plain)
        return list(positions)

    def append(self, events: Sequence[StoredEvent], redecide: Redecide) -> RecordedRef:
        """Records ``events`` in one transaction.

        If another writer changed some aggregates since they were loaded, ``redecide`` is called with their ids while
        the lock is held. It returns the whole batch, decided again on their current state. Raises OrderBroken for
        events that name times which do not follow the log's, ClockAhead, and LogRestored.
        """

        def again(conflicts: set[UUID]) -> list[LogEvent]:
            return [classified(event) for event in redecide(conflicts)]

        return RecordedRef(*self._append([classified(event) for event in events], again, plain=False))

    def with_recorded_at(self, event: StoredEvent, recorded_at_ms: int) -> StoredEvent:
        return classified(event).recorded_at(recorded_at_ms)

    def _append(
        self,
        events: Sequence[LogEvent],
        redecide: Callable[[set[UUID]], list[LogEvent]] | None,
        plain: bool,
    ) -> tuple[range, Sequence[LogEvent]]:
        if not events:
            return range(0), events
        with as_library_errors(), terminating_overdue_backends(self._engine):
            packed = pack(events)
            aggregates = _aggregates(events)
            with self._engine.connect() as connection:
                self._prepare(connection, aggregates, len(events))
                with connection.begin():
                    head = lock_head(connection)
                    if not self._is_known(connection, head) and redecide is not None:
                        raise LogRestored("this is not the log that this writer has seen: it was restored")
                    versions = self._current_versions(connection, head, aggregates)
                    conflicts = conflicting(events, versions, plain)
                    if conflicts and redecide is not None:
                        events = redecide(conflicts)
                        packed = pack(events)
                        aggregates = _aggregates(events)
                        versions = self._current_versions(connection, head, aggregates)
                        conflicts = conflicting(events, versions, plain)
                    if conflicts:
                        self._versions.merge({a: v for a, v in versions.items() if v != EMPTY})
                        raise integrity_error(conflicts)
                    if not events:
                        return range(0), events
                    end = self._cover(connection, head.position + len(events))
                    positions = insert(connection, head, events, packed, self._clock)
        self._partitions.committed(end)
        reached = {event.originator_id: event.originator_version for event in events}
        self._versions.merge(
            {a: v for a, v in reached.items() if isinstance(a, UUID)}, _last_seen(positions, events, head)
        )
        return positions, events

    def _prepare(self, connection: Connection, aggregates: Sequence[UUID], count: int) -> None:
        """Looks up unknown versions and creates the next partition before it is needed, both without the lock.

        Sends no query while all versions are known and the last partition has room.
        """
        seen = self._versions.seen
        unknown = self._versions.unknown(aggregates)
        if seen is None or unknown:
            with connection.begin():
                if seen is None:
                    head = read_head(connection)
                    seen = seen_at(connection, head.position)[head.position]
                    self._versions.forget(seen)
                    unknown = list(aggregates)
                self._look_up(connection, unknown)
        self._partitions.make_ahead(connection, seen.position + count)

    def _cover(self, connection: Connection, last: int) -> int:
        """Make sure, inside the lock, that partitions reach position ``last``.

        Returns where they end once this is committed; 0 if none had to be made, which is the rule.
        """
        return self._partitions.cover(connection, last)

    def _current_versions(
        self, connection: Connection, head: LogHeadRow, aggregates: Sequence[UUID]
    ) -> dict[UUID, int]:
        """Returns versions as of ``head``. They stay current while the caller holds the lock."""
        self._look_up(connection, self._versions.unknown(aggregates))
        versions = self._versions.known(aggregates)
        if len(versions) < len(aggregates):
            # One batch has more aggregates than the cache holds.
            versions.update(latest_versions(connection, [a for a in aggregates if a not in versions]))
        return versions

    def _is_known(self, connection: Connection, head: LogHeadRow) -> bool:
        """Updates the known versions to ``head``. The caller holds the lock.

        Returns False if this is another log, or a restored one. Then the cache is cleared and starts at ``head``.
        """
        seen = self._versions.seen
        assert seen is not None, "_prepare comes first"
        if (head.position, head.recorded_at_ms) == (seen.position, seen.recorded_at_ms):
            return True  # unchanged since this writer's last append
        found = seen_at(connection, seen.position, head.position)
        # Invariant 14: the position alone is no proof, since a restored log assigns it again to another event.
        known = head.position >= seen.position and found[seen.position] == seen
        if known and head.position - seen.position <= LARGEST_REFRESH:
            since = versions_recorded_since(connection, seen.position, head.position)
            self._versions.merge(since, found[head.position])
        else:
            self._versions.forget(found[head.position])
        if not known:
            self._partitions.forget()  # the restored log may have fewer partitions
        return known

    def _look_up(self, connection: Connection, aggregates: Sequence[UUID]) -> None:
        self._versions.merge(latest_versions(connection, aggregates))

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> list[StoredEvent]:
        with as_library_errors(), self._engine.connect() as connection:
            return reads.select_events(connection, originator_id, gt=gt, lte=lte, desc=desc, limit=limit)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> list[Notification]:
        with as_library_errors(), self._engine.connect() as connection:
            return reads.select_notifications(
                connection, start, limit, stop, topics, inclusive_of_start=inclusive_of_start
            )

    def max_notification_id(self) -> int | None:
        with as_library_errors(), self._engine.connect() as connection:
            return read_head(connection).position or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> PollingSubscription:
        return PollingSubscription(self, gt, topics)


def _last_seen(positions: range, events: Sequence[LogEvent], head: LogHeadRow) -> LastSeenEvent:
    return LastSeenEvent(positions.stop - 1, events[-1].event_id, head.recorded_at_ms)


def _aggregates(events: Sequence[LogEvent]) -> list[UUID]:
    return list(dict.fromkeys(e.originator_id for e in events if isinstance(e.originator_id, UUID)))
