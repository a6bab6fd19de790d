"""``GET /events``: the log by position, as pages of JSON and as Server-Sent Events. docs/subscribe.md explains both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any, Final, Protocol, TypeVar

import msgspec
from litestar import MediaType, Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter, QueryParameter

from domain.recorded_events import AGGREGATE_OF
from infrastructure.event_store.event_pages import (
    LOG_REPLACED,
    STREAMS,
    UNKNOWN_POSITION,
    EventPage,
    EventSelection,
    PositionNotInLog,
    RecordedEvent,
)
from infrastructure.event_store.log_cursor import LogCursor, parse_marked
from infrastructure.event_store.log_tail import LogReplaced, LogTail
from infrastructure.http.errors import ApiError, errors, unavailable
from infrastructure.http.event_json import EventEncoder, EventItems
from infrastructure.http.event_streams import (
    END_RETRY_MS,
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
RETRY_INTERVAL_S: Final = 1.0

_THREADS: Final = ThreadPoolExecutor(2, thread_name_prefix="event-streams")
"""Streams that catch up read the log all the time. In the loop's own threads they would delay other requests.

Events are encoded here too: their first decoding may ask an external schema registry, for seconds.
"""

_UNAVAILABLE: Final = (PortUnavailable, SinkRejected, RegistryUnavailable)

T = TypeVar("T")


class LogPages(Protocol):
    """Pages of the log. Blocks. Both raise PositionNotInLog and PortUnavailable."""

    def start(self, after: LogCursor | None) -> EventPage:
        """The empty page at ``after``, or at the head if it is None."""
        ...

    def page(self, selection: EventSelection, after: LogCursor, limit: int) -> EventPage:
        """The first events of ``selection`` after ``after``, at most ``limit``."""
        ...


class EventReader:
    """What ``/events`` reads from: pages of the log, its tail, and the encoder that both share."""

    def __init__(
        self, pages: LogPages, tail: LogTail, encoder: EventEncoder, retry_interval_s: float = RETRY_INTERVAL_S
    ) -> None:
        """``retry_interval_s``: seconds from a failed read to the next one."""
        self._pages = pages
        self._tail = tail
        self._encoder = encoder
        self._retry_interval_s = retry_interval_s

    async def start(self, after: LogCursor | None) -> EventPage:
        """The empty page where a stream begins; None: at the head. Raises PositionNotInLog and ApiError."""
        return await _answered(partial(self._pages.start, after))

    async def page(self, selection: EventSelection, after: LogCursor | None, limit: int) -> EventPage:
        """A page; ``after`` None: the empty page at the head. Raises PositionNotInLog and ApiError."""
        if after is None:
            return await self.start(None)
        return await _answered(partial(self._pages.page, selection, after, limit))

    async def body(self, page: EventPage) -> bytes:
        """The page as JSON. Raises ApiError."""
        return await _answered(partial(self._encoder.page, page))

    async def frames(
        self, selection: EventSelection, start: EventPage, streams: OpenStreams, heartbeat_s: float
    ) -> AsyncIterator[bytes]:
        """The events after ``start``, as Server-Sent Events, until the server stops."""
        opening = msgspec.json.encode({"log_id": start.log_id, "head": start.head})
        # With an id: a client that is interrupted before its first event resumes here, not at a later head.
        yield RETRY_LINE + b"id: %b\nevent: log\ndata: %b\n\n" % (start.upto.text().encode(), opening)
        clock = asyncio.get_running_loop().time
        reached, in_tail, heartbeat_at = start.upto, False, clock() + heartbeat_s
        with self._tail.watching() as epoch:
            while not streams.stopping:
                pause_s = 0.0
                try:
                    # The first read is a page, which verifies the position after the epoch was read.
                    events, upto = await self._read(selection, reached, epoch if in_tail else None)
                    frame = await self._encoded(events)
                    # Only now: events that could not be encoded are read again.
                    has_moved, reached, in_tail = upto.position > reached.position, upto, True
                    if not events and not has_moved and not streams.stopping:
                        await self._tail.wait(reached.position, self._wait_s(reached, heartbeat_at - clock()))
                    if not events and clock() >= heartbeat_at:
                        # With an id and no data: what was passed is not passed again after a reconnection.
                        frame = b": \nid: %b\n\n" % reached.text().encode()
                except _UNAVAILABLE:
                    # A client of a stream that ends with an error status would not connect again.
                    frame, pause_s = b": the log is unavailable for now\n\n", self._retry_interval_s
                except (LogReplaced, PositionNotInLog) as error:
                    yield _end_of(error, reached)
                    return
                if frame:
                    yield frame
                    heartbeat_at = clock() + heartbeat_s
                if pause_s:
                    await asyncio.sleep(pause_s)

    async def _read(
        self, selection: EventSelection, reached: LogCursor, epoch: int | None
    ) -> tuple[list[RecordedEvent], LogCursor]:
        """The next events of the selection, and how far the log is read with them; from a page without an epoch."""
        events = None if epoch is None else self._tail.since(reached, _BATCH_EVENTS, epoch)
        if events is None:
            page = await _in_thread(partial(self._pages.page, selection, reached, _BATCH_EVENTS))
            return page.events, page.upto
        upto = events[-1].cursor() if events else reached
        return [event for event in events if selection.matches(event)], upto

    def _wait_s(self, reached: LogCursor, until_heartbeat_s: float) -> float:
        """Until the heartbeat; shorter where the tail is behind ``reached``: a restore may have put it there."""
        wait_s = max(0.0, until_heartbeat_s)
        return wait_s if self._tail.position >= reached.position else min(wait_s, self._retry_interval_s)

    async def _encoded(self, events: list[RecordedEvent]) -> bytes:
        if all(event.encoded is not None for event in events):
            return self._encoder.frames(events)
        return await _in_thread(partial(self._encoder.frames, events))


def events_route(
    source: EventReader, streams: OpenStreams, heartbeat_s: float = HEARTBEAT_INTERVAL_S
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
            str,
            Parameter(
                description="the position to read after, or the `cursor` of a page, which is verified; or `head`: only"
                " what is recorded from now on"
            ),
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

        With `Accept: text/event-stream`, the same as Server-Sent Events without end: `id` is the cursor, `data` the
        item. A client that connects again sends Last-Event-ID, which takes the place of `after`. The first event has
        the type `log` and the log's id. A type `end` says why a stream ends that cannot be resumed. A comment is sent
        after 15 s without an event. `limit` does not apply. The stream of a session ends within 15 s of it.

        409 `log_replaced`: the log has another event at the cursor's position than before, after a restore.

        A page with a filter may be empty before the end of the log: go on from `next` until it equals `head`.
        """
        selection = _selection(stream, key, event_type)
        as_stream = wants_stream(request.headers.get("accept", ""))
        # An empty id is what a client sends that has received none: it begins at `after`, as without the header.
        resumed = (request.headers.get("last-event-id") or None) if as_stream else None
        begin = _cursor("after", after) if resumed is None else _cursor("Last-Event-ID", resumed)
        most = checked_limit(limit)
        try:
            if as_stream:
                page = await source.start(begin)
            else:
                page = await source.page(selection, begin, most)
        except PositionNotInLog as error:
            if resumed is None or begin is None:
                raise ApiError(409 if error.code == LOG_REPLACED else 400, error.code, str(error)) from error
            # A browser shows its page no status and no body of a refusal: the reason is an event.
            return EventStream(streams, partial(_only, _end_of(error, begin)))
        if log_id is not None and log_id != page.log_id:
            raise ApiError(409, "other_log", f"this log is {page.log_id}: positions of another log mean nothing here")
        if as_stream:
            return EventStream(streams, partial(source.frames, selection, page, streams, heartbeat_s), heartbeat_s)
        return ReadyAnswer(await source.body(page), {})

    return get_events


def _selection(stream: str | None, key: str | None, event_type: str | None) -> EventSelection:
    if stream is not None and stream not in STREAMS:
        raise ApiError(400, "invalid_request", f"stream is {' or '.join(STREAMS)}, not {stream[:40]!r}")
    if event_type is not None and event_type not in AGGREGATE_OF:
        raise ApiError(400, "invalid_request", f"type is one of {', '.join(sorted(AGGREGATE_OF))}")
    return EventSelection(stream, key, event_type)


def _cursor(name: str, text: str) -> LogCursor | None:
    if text == HEAD:
        return None
    return parse_marked(text) or LogCursor(whole_number(name, text))


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)


async def _answered(work: Callable[[], T]) -> T:
    try:
        return await _in_thread(work)
    except _UNAVAILABLE as error:
        raise unavailable("event_store_unavailable", str(error)) from error


async def _only(frame: bytes) -> AsyncIterator[bytes]:
    yield frame


def _end_of(error: LogReplaced | PositionNotInLog, reached: LogCursor) -> bytes:
    """The last event of a stream. A browser connects again with its id, which is refused in the same way."""
    code, cursor = LOG_REPLACED, reached.refused()
    detail = (
        "the log was restored to an older state, or is another one: what was read after the state that was restored is"
        " no longer in it. Close the stream, discard that, and read /events from a position that you trust"
    )
    # The position was in the log when the stream began: beyond the head now, it is one of another state.
    if isinstance(error, PositionNotInLog) and error.code not in {UNKNOWN_POSITION, LOG_REPLACED}:
        code, cursor, detail = error.code, reached, str(error)
    data = msgspec.json.encode({"code": code, "detail": detail})
    return b"retry: %d\nid: %b\nevent: end\ndata: %b\n\n" % (END_RETRY_MS, cursor.text().encode(), data)
