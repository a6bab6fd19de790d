"""``GET /live``: moved riders and changed orders as Server-Sent Events, for the page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.handlers import HTTPRouteHandler

from infrastructure.http.errors import errors, unavailable
from infrastructure.http.event_streams import HEARTBEAT_INTERVAL_S, EventStream, OpenStreams, wants_stream
from infrastructure.http.hot_route import ReadyAnswer
from infrastructure.http.live_feed import LiveFeed


def live_route(feed: LiveFeed, streams: OpenStreams, heartbeat_s: float = HEARTBEAT_INTERVAL_S) -> HTTPRouteHandler:
    """``streams`` bounds the open streams of the process, together with those of ``/events``."""

    @get(
        "/live",
        media_type=MediaType.JSON,
        opt={"role": "read"},
        summary="Moved riders and changed orders, live",
        responses=errors(503),
        tags=["events"],
    )
    async def get_live(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
        """What a map shows, once; with `Accept: text/event-stream`, and then what changes.

        Server-Sent Events: one of type `snapshot` with riders and open orders, which replaces all before it, then
        `changes`, at most four a second. `data` is `{at_ms, riders: [{rider_id, latitude, longitude,
        event_timestamp_ms, position}], orders: [as in GET /deliveries]}`. An order that has ended is sent once more.

        At most 5,000 riders are held, those that moved last while a page was open, and the 2,000 open orders that were
        placed last. A client that reads too slowly gets a `snapshot` again; so do all after changes were missed.
        A stream that was interrupted begins with a `snapshot`, so there is nothing to resume.
        """
        if not wants_stream(request.headers.get("accept", "")):
            async with feed.following():
                if not feed.is_current:
                    raise unavailable("read_model_unavailable", "the map cannot be read now; see `status`")
                return ReadyAnswer(feed.body(), {})
        return EventStream(streams, partial(live_frames, feed, lambda: streams.stopping, heartbeat_s), heartbeat_s)

    return get_live


def live_frames(feed: LiveFeed, is_stopping: Callable[[], bool], heartbeat_s: float) -> AsyncIterator[bytes]:
    """The stream of one page: everything once, then changes, four times a second at most."""

    async def frames() -> AsyncIterator[bytes]:
        async with feed.following():
            frame = feed.everything()
            yield frame.body
            number = frame.number
            while not is_stopping():
                found = feed.since(number)
                if found is None:
                    found = [feed.everything()]
                if found:
                    number = found[-1].number
                    yield b"".join(frame.body for frame in found)
                elif not await feed.wait(heartbeat_s):
                    yield b": \n\n"

    return frames()
