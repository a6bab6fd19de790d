"""A log in memory: the ports ``log_tail.LogEnd``, ``live_feed.ChangedLog``, and ``LogPages`` of ``http.events``."""

from __future__ import annotations

from threading import Lock
from uuid import UUID, uuid4

from domain.identifiers import shard_of
from infrastructure.event_store.event_pages import (
    LOG_REPLACED,
    UNKNOWN_POSITION,
    EventPage,
    EventSelection,
    PositionNotInLog,
    RecordedEvent,
)
from infrastructure.event_store.log_changes import RECENT_EVENTS, ChangedKeys, LogChanges, LogPlace
from infrastructure.event_store.log_cursor import LogCursor
from infrastructure.event_store.log_head import LogHeadRow
from infrastructure.event_store.log_tail import LogReplaced
from projections.core.ports import PortUnavailable


class MemoryLogEnd:
    """Events of a log, all committed. Safe to share between threads."""

    def __init__(self) -> None:
        self.log_id: UUID = uuid4()
        self.events: list[RecordedEvent] = []
        self.available = True
        self.reads = 0
        self._recorded = 0
        self._appending = Lock()

    def append(self, stream: str, key: str, event_type: str) -> int:
        """Record an event without content. Returns its position."""
        with self._appending:
            position = len(self.events) + 1
            numbers = (position, stream, shard_of(key), position)
            self._recorded += 1
            ids = (str(UUID(int=position)), None, None)
            self.events.append(RecordedEvent(*numbers, key, position, event_type, *ids, position, self._recorded, b""))
            return position

    def restore(self, position: int) -> None:
        """Lose all events after ``position``."""
        del self.events[position:]

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

    def start(self, after: LogCursor | None) -> EventPage:
        head = self.head().position
        wanted = LogCursor(head) if after is None else after
        if not 0 <= wanted.position <= head:
            raise PositionNotInLog(UNKNOWN_POSITION, "beyond the head")
        found = self._cursor_at(wanted.position)
        if wanted.mark and wanted.mark != found.mark:
            raise PositionNotInLog(LOG_REPLACED, "another event")
        return EventPage([], found, found, head, str(self.log_id))

    def page(self, selection: EventSelection, after: LogCursor, limit: int) -> EventPage:
        begin = self.start(after)
        read = self.between(after.position, begin.head, limit)
        upto = read[-1].cursor() if read else begin.after
        return begin._replace(events=[event for event in read if selection.matches(event)], upto=upto)

    def after(self, place: LogPlace | None) -> LogChanges:
        head = self.head().position
        upto = LogPlace(str(self.log_id), self._cursor_at(head))
        if place is None:
            return LogChanges(upto.before(RECENT_EVENTS), None)
        known = place.cursor
        if (
            place.log_id != upto.log_id
            or known.position > head
            or (known.mark and known != self._cursor_at(known.position))
        ):
            raise LogReplaced
        changed: dict[str, dict[str, int]] = {"Rider": {}, "Delivery": {}}
        for event in self.events[known.position : head]:
            if event.stream == "Delivery" or event.event_type == "GpsPing":
                changed[event.stream][event.key] = event.position
        return LogChanges(upto, ChangedKeys(changed["Rider"], changed["Delivery"]))

    def _cursor_at(self, position: int) -> LogCursor:
        return self.events[position - 1].cursor() if position else LogCursor(0)
