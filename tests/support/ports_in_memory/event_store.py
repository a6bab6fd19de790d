"""The event store's ports in memory, for tests of commands without a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from eventsourcing.popo import POPOAggregateRecorder, POPOApplicationRecorder

from domain.event_store import (
    CommandRef,
    PingIdentity,
    PositionedEvent,
    RecordedPayload,
    RecordedRef,
    RecordedVersion,
    Redecide,
)
from domain.riders.rider import Rider
from infrastructure.event_store.aggregates import LogEvent, classified
from infrastructure.event_store.append import EMPTY, conflicting, recorded_times
from infrastructure.event_store.log_head import LogHeadRow
from infrastructure.timestamps import now_ms


class MemoryEventStore(POPOApplicationRecorder):
    """The library's in-memory recorder with ``append`` and History; conflicts are decided as in Postgres."""

    def __init__(self) -> None:
        super().__init__()
        self.snapshots = POPOAggregateRecorder()
        self.log: list[LogEvent] = []
        self.recorded_at_ms: list[int] = []

    def append(self, events: Sequence[StoredEvent], redecide: Redecide) -> RecordedRef:
        events = list(events)
        conflicts = conflicting([classified(e) for e in events], self._versions(events), plain=False)
        if conflicts:
            events = list(redecide(conflicts))
        ids = self.insert_events(events) or []
        first = len(self.log) - len(ids) + 1
        return RecordedRef(range(first, first + len(ids)), events)

    def with_recorded_at(self, event: StoredEvent, recorded_at_ms: int) -> StoredEvent:
        return classified(event).recorded_at(recorded_at_ms)

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        events = [classified(event) for event in stored_events]
        head = LogHeadRow(UUID(int=0), len(self.log), self.recorded_at_ms[-1] if self.log else 0, {})
        times = recorded_times(events, head, now_ms())
        ids = super().insert_events(stored_events, **kwargs)
        self.log += events
        self.recorded_at_ms += times
        return ids

    def find_pings(self, identities: Sequence[PingIdentity]) -> dict[PingIdentity, RecordedPayload]:
        wanted = set(identities)
        found = {}
        for position, event in enumerate(self.log, start=1):
            assert isinstance(event.originator_id, UUID)
            identity = PingIdentity(event.originator_id, event.event_time_ms, str(event.event_id))
            if event.topic == Rider.PingRecorded.RECORD and identity in wanted:
                found[identity] = RecordedPayload(position, event.state)
        return found

    def find_commands(self, refs: Sequence[CommandRef]) -> dict[CommandRef, list[StoredEvent]]:
        wanted, found = set(refs), dict[CommandRef, list[StoredEvent]]()
        for event in self.log:
            assert isinstance(event.originator_id, UUID)
            ref = CommandRef(event.originator_id, event.command_id or "")
            if ref in wanted:
                found.setdefault(ref, []).append(event)
        return found

    def streams(self, aggregates: Iterable[UUID]) -> dict[UUID, list[StoredEvent]]:
        found: dict[UUID, list[StoredEvent]] = {}
        for aggregate in aggregates:
            stream = list(self.snapshots.select_events(aggregate, desc=True, limit=1))
            after = stream[0].originator_version if stream else None
            stream += [
                PositionedEvent(event.originator_id, event.originator_version, event.topic, event.state, position)
                for position, event in enumerate(self.log, start=1)
                if event.originator_id == aggregate and event.originator_version > (after or 0)
            ]
            if stream:
                found[aggregate] = stream
        return found

    def latest(self, aggregates: Iterable[UUID]) -> dict[UUID, RecordedVersion]:
        last = {
            event.originator_id: RecordedVersion(event.originator_version, position)
            for position, event in enumerate(self.log, start=1)
        }
        return {aggregate: last[aggregate] for aggregate in aggregates if aggregate in last}

    def _versions(self, events: Sequence[StoredEvent]) -> dict[UUID, int]:
        versions = {}
        for event in events:
            assert isinstance(event.originator_id, UUID)
            last = self.select_events(event.originator_id, desc=True, limit=1)
            versions[event.originator_id] = last[0].originator_version if last else EMPTY
        return versions
