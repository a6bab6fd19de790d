"""``GET /live``: moved riders and changed orders as Server-Sent Events, for the page."""

from __future__ import annotations

from functools import partial
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.handlers import HTTPRouteHandler

from infrastructure.http.errors import errors, unavailable
from infrastructure.http.event_streams import HEARTBEAT_INTERVAL_S, EventStream, OpenStreams, wants_stream
from infrastructure.http.hot_route import ReadyAnswer
from infrastructure.http.live_feed import LiveFeed, live_frames


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

        Server-Sent Events: one of type `snapshot` with the riders that moved last and the open orders, then
        `changes`, at most four a second. `data` is `{at_ms, riders: [{rider_id, latitude, longitude,
        event_timestamp_ms, position}], orders: [as in GET /deliveries]}`. An order that has ended is sent once more.

        The newest 5,000 riders and 2,000 open orders are shown. A client that reads too slowly gets a `snapshot` again.
        A stream that was interrupted begins with a `snapshot`, so there is nothing to resume.
        """
        if not wants_stream(request.headers.get("accept", "")):
            async with feed.following():
                if not feed.is_current:
                    raise unavailable("read_model_unavailable", "the map cannot be read now; see `status`")
                return ReadyAnswer(feed.body(), {})
        return EventStream(streams, partial(live_frames, feed, lambda: streams.stopping, heartbeat_s))

    return get_live
