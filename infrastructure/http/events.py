"""``GET /events``: the log by position, as pages of JSON and as Server-Sent Events. docs/subscribe.md explains both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any, Final, TypeVar

import msgspec
from litestar import MediaType, Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter, QueryParameter

from domain.recorded_events import AGGREGATE_OF
from infrastructure.event_store.event_pages import (
    STREAMS,
    UNKNOWN_POSITION,
    EventPage,
    EventPages,
    EventSelection,
    PositionNotInLog,
)
from infrastructure.event_store.log_tail import LogReplaced, LogTail
from infrastructure.http.errors import ApiError, errors, unavailable
from infrastructure.http.event_json import EventEncoder, EventItems
from infrastructure.http.event_streams import (
    HEARTBEAT_INTERVAL_S,
    RETRY_LINE,
    EventStream,
    OpenStreams,
    wants_stream,
)
from infrastructure.http.hot_route import ReadyAnswer
from infrastructure.http.paging import DEFAULT_LIMIT, Limit, checked_limit, whole_number
from infrastructure.schema_registry.client import RegistryUnavailable
from projections.core.ports import PortUnavailable, SinkRejected

HEAD: Final = "head"
_BATCH_EVENTS: Final = 500
_INLINE_EVENTS: Final = 20
"""Encoded in the event loop; more are encoded in a thread, so that other requests do not wait."""
_RETRY_INTERVAL_S: Final = 1.0

_THREADS: Final = ThreadPoolExecutor(2, thread_name_prefix="event-streams")
"""Streams that catch up read the log all the time. In the loop's own threads they would delay other requests."""

_UNAVAILABLE: Final = (PortUnavailable, SinkRejected, RegistryUnavailable)

T = TypeVar("T")


class EventSource:
    """What ``/events`` reads from: pages of the log, its tail, and the encoder that both share."""

    def __init__(self, pages: EventPages, tail: LogTail, encoder: EventEncoder) -> None:
        self.pages = pages
        self.tail = tail
        self._encoder = encoder

    async def page(self, selection: EventSelection, after: int | None, limit: int) -> EventPage:
        """A page; ``after`` None: the empty page at the head. Raises ApiError."""
        return await _answered(partial(self._page, selection, after, limit))

    async def body(self, page: EventPage) -> bytes:
        """The page as JSON. Raises ApiError."""
        return await _answered(partial(self._encoder.page, page))

    async def frames(
        self, selection: EventSelection, first: EventPage, streams: OpenStreams, heartbeat_s: float
    ) -> AsyncIterator[bytes]:
        """The events of ``first`` and all later ones, as Server-Sent Events, until the server stops."""
        opening = msgspec.json.encode({"log_id": first.log_id, "head": first.head})
        yield RETRY_LINE + b"event: log\ndata: %b\n\n" % opening
        page, position = first, first.upto
        if page.events:
            yield await self._encoded(page.events)
        with self.tail.watching() as epoch:
            while not streams.stopping:
                try:
                    events = self.tail.since(position, _BATCH_EVENTS, epoch)
                    if events is None:
                        page = await _in_thread(partial(self.pages.page, selection, position, _BATCH_EVENTS))
                        moved, events = page.upto > position, page.events
                        position = page.upto
                    else:
                        moved = bool(events)
                        position = events[-1].position if moved else position
                        events = [event for event in events if selection.matches(event)]
                    if events:
                        yield await self._encoded(events)
                    elif not moved and not await self.tail.wait(position, heartbeat_s):
                        # With an id and no data: what was passed is not passed again after a reconnection.
                        yield b": \nid: %d\n\n" % position
                except _UNAVAILABLE:
                    # A client of a stream that ends with an error status would not connect again.
                    yield b": the log is unavailable for now\n\n"
                    await asyncio.sleep(_RETRY_INTERVAL_S)
                except (LogReplaced, PositionNotInLog) as error:
                    yield _end_of(error)
                    return

    def _page(self, selection: EventSelection, after: int | None, limit: int) -> EventPage:
        if after is not None:
            return self.pages.page(selection, after, limit)
        head = self.pages.head()
        return EventPage([], head.position, head.position, str(head.log_id))

    async def _encoded(self, events: list[Any]) -> bytes:
        if len(events) <= _INLINE_EVENTS:
            return self._encoder.frames(events)
        return await _in_thread(partial(self._encoder.frames, events))


def events_route(
    source: EventSource, streams: OpenStreams, heartbeat_s: float = HEARTBEAT_INTERVAL_S
) -> HTTPRouteHandler:
    """``streams`` bounds the open streams of the process; ``heartbeat_s``: seconds without an event to a comment."""

    @get(
        "/events",
        media_type=MediaType.JSON,
        opt={"role": "read"},
        summary="The events of the log, by position",
        responses=errors(400, 409, 503),
        tags=["events"],
    )
    async def get_events(
        request: Request[Any, Any, Any],
        after: Annotated[
            str, Parameter(description="the position to read after, or `head`: only what is recorded from now on")
        ] = "0",
        stream: Annotated[str | None, Parameter(description=f"only this stream: {' or '.join(STREAMS)}")] = None,
        key: Annotated[str | None, Parameter(description="only this rider or order")] = None,
        event_type: Annotated[
            str | None, QueryParameter(name="type", description="only this type, such as GpsPing or DeliveryCompleted")
        ] = None,
        limit: Limit = DEFAULT_LIMIT,
        log_id: Annotated[
            str | None, Parameter(description="refuse, with 409, if the log is another than this one")
        ] = None,
    ) -> Response[EventItems]:
        """All events after a position, in the one order of the log, without a gap; `next` is where to go on.

        With `Accept: text/event-stream`, the same as Server-Sent Events without end: `id` is the position, `data` the
        item. A client that connects again sends Last-Event-ID, which takes the place of `after`. The first event has
        the type `log` and the log's id. A type `end` says why a stream ends that cannot be resumed. A comment is sent
        after 15 s without an event. `limit` does not apply.

        A page with a filter may be empty before the end of the log: go on from `next` until it equals `head`.
        """
        selection = _selection(stream, key, event_type)
        as_stream = wants_stream(request.headers.get("accept", ""))
        resumed = request.headers.get("last-event-id") if as_stream else None
        start = _position(after if resumed is None else resumed)
        page = await source.page(selection, start, checked_limit(limit))
        if log_id is not None and log_id != page.log_id:
            raise ApiError(409, "other_log", f"this log is {page.log_id}: positions of another log mean nothing here")
        if as_stream:
            frames = partial(source.frames, selection, page, streams, heartbeat_s)
            return EventStream(streams, frames)
        return ReadyAnswer(await source.body(page), {})

    return get_events


def _selection(stream: str | None, key: str | None, event_type: str | None) -> EventSelection:
    if stream is not None and stream not in STREAMS:
        raise ApiError(400, "invalid_request", f"stream is {' or '.join(STREAMS)}, not {stream[:40]!r}")
    if event_type is not None and event_type not in AGGREGATE_OF:
        raise ApiError(400, "invalid_request", f"type is one of {', '.join(sorted(AGGREGATE_OF))}")
    return EventSelection(stream, key, event_type)


def _position(text: str) -> int | None:
    return None if text == HEAD else whole_number("after", text)


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)


async def _answered(work: Callable[[], T]) -> T:
    try:
        return await _in_thread(work)
    except PositionNotInLog as error:
        raise ApiError(400, error.code, str(error)) from error
    except _UNAVAILABLE as error:
        raise unavailable("event_store_unavailable", str(error)) from error


def _end_of(error: LogReplaced | PositionNotInLog) -> bytes:
    code, detail = "log_replaced", "the log was replaced or restored: read /events again and compare log_id"
    # The position was in the log when the stream began: beyond the head now, it is one of another state.
    if isinstance(error, PositionNotInLog) and error.code != UNKNOWN_POSITION:
        code, detail = error.code, str(error)
    return b"event: end\ndata: %b\n\n" % msgspec.json.encode({"code": code, "detail": detail})
