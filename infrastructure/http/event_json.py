"""Encodes recorded events as JSON, with their payload decoded, for ``GET /events``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from domain.events.contracts import UndecodableError
from infrastructure.event_store.event_pages import EventPage, RecordedEvent
from projections.core.fold import Decode

MAX_PROBLEM_CHARS: Final = 300


class EventItem(msgspec.Struct):
    """One event. ``payload``: the record of its type, as in domain/events. ``problem``: why it is null, else null."""

    position: int
    stream: str
    shard: int
    seq: int
    key: str
    version: int
    type: str
    event_id: str
    command_id: str | None
    caused_by: str | None
    event_time_ms: int
    recorded_at_ms: int
    payload: Mapping[str, Any] | None
    problem: str | None


class EventItems(msgspec.Struct):
    """A page. ``next``: the position to read after, always a number; ``next`` = ``head`` at the end of the log.

    ``cursor``: ``next`` with a mark of the event there. As ``after``, it is refused by a log that was restored.
    """

    items: list[EventItem]
    next: int
    cursor: str
    head: int
    log_id: str


class EventEncoder:
    """Encodes each event once, however many streams send it."""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode

    def item(self, event: RecordedEvent) -> bytes:
        """The JSON of one event, in one line. Raises what the schema registry raises while it is unavailable."""
        if event.encoded is None:
            event.encoded = msgspec.json.encode(self.described(event))
        return event.encoded

    def page(self, page: EventPage) -> bytes:
        """The JSON of a page. Raises as ``item``."""
        items = b",".join(self.item(event) for event in page.events)
        return b'{"items":[%b],"next":%d,"cursor":"%b","head":%d,"log_id":"%b"}' % (
            items,
            page.upto.position,
            page.upto.text().encode(),
            page.head,
            page.log_id.encode(),
        )

    def frames(self, events: Iterable[RecordedEvent]) -> bytes:
        """The events as Server-Sent Events, each with its cursor as the id. Raises as ``item``."""
        return b"".join(
            b"id: %b\ndata: %b\n\n" % (event.cursor().text().encode(), self.item(event)) for event in events
        )

    def described(self, event: RecordedEvent) -> EventItem:
        """The event with its decoded payload. Raises as ``item``."""
        payload, problem = None, None
        try:
            payload = self._decode(event.payload)
        except UndecodableError as error:
            # Invariant 10: one bad event stops no subscriber. Its place in the order is shown, without its content.
            problem = str(error)[:MAX_PROBLEM_CHARS]
        return EventItem(
            event.position,
            event.stream,
            event.shard,
            event.seq,
            event.key,
            event.version,
            event.event_type,
            event.event_id,
            event.command_id,
            event.caused_by,
            event.event_time_ms,
            event.recorded_at_ms,
            payload,
            problem,
        )
