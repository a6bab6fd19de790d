"""The end of a log in memory: the port ``infrastructure.event_store.log_tail.LogEnd``."""

from __future__ import annotations

from uuid import UUID, uuid4

from domain.identifiers import shard_of
from infrastructure.event_store.event_pages import RecordedEvent
from infrastructure.event_store.log_head import LogHeadRow
from projections.core.ports import PortUnavailable


class MemoryLogEnd:
    """Events of a log, all committed. Safe to share between threads, as a list is."""

    def __init__(self) -> None:
        self.log_id: UUID = uuid4()
        self.events: list[RecordedEvent] = []
        self.available = True
        self.reads = 0

    def append(self, stream: str, key: str, event_type: str) -> int:
        """Record an event without content. Returns its position."""
        position = len(self.events) + 1
        numbers = (position, stream, shard_of(key), position)
        ids = (str(UUID(int=position)), None, None)
        self.events.append(RecordedEvent(*numbers, key, position, event_type, *ids, position, position, b""))
        return position

    def ping(self, *riders: str) -> None:
        """Record a ping of each rider."""
        for rider in riders:
            self.append("Rider", rider, "GpsPing")

    def head(self) -> LogHeadRow:
        self.reads += 1
        if not self.available:
            raise PortUnavailable("the log is unavailable")
        return LogHeadRow(self.log_id, len(self.events), 0, {})

    def between(self, after: int, upto: int, limit: int) -> list[RecordedEvent]:
        return self.events[after : min(upto, after + limit)]
