"""Riders for the map: where all are, the window behind a speed, and the track."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final, NamedTuple, TypeVar

from litestar import MediaType, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import OpenAPIType
from litestar.params import FromPath, Parameter

from domain.features.speed.window import SpeedState
from infrastructure.http.errors import ApiError, errors, unavailable
from infrastructure.http.hot_route import ReadyAnswer
from infrastructure.http.paging import whole_number
from infrastructure.http.time_travel import At, AtPosition, OnAxis, as_of, read_past
from infrastructure.redis.state_reader import FoundState, ReadModelUnavailable, StateReader
from infrastructure.replay.rider_places import RiderPlaces
from infrastructure.replay.rider_tracks import MAX_TRACK_EVENTS, RiderTracks
from infrastructure.timestamps import now_ms
from projections.replay.as_of import AsOf
from read_models.speed.state import decode
from read_models.speed.view import explained, features, row
from read_models.view import ViewLimits, body_of

DEFAULT_EVENTS: Final = "300"
_READ: Final = {"role": "read"}

T = TypeVar("T")

Events = Annotated[
    str,
    Parameter(
        description=f"how many of the rider's latest events are read, 1 to {MAX_TRACK_EVENTS:,}",
        schema_extra={
            "type": OpenAPIType.INTEGER,
            "minimum": 1,
            "maximum": MAX_TRACK_EVENTS,
            "default": int(DEFAULT_EVENTS),
        },
    ),
]


class RiderViews(NamedTuple):
    """What the routes read from."""

    speeds: StateReader
    places: RiderPlaces
    tracks: RiderTracks
    limits: ViewLimits


def rider_view_routes(views: RiderViews) -> list[HTTPRouteHandler]:
    """``/riders``, ``/riders/{rider_id}/window`` and ``/riders/{rider_id}/track``."""
    return [_riders(views), _window(views), _track(views)]


def _riders(views: RiderViews) -> HTTPRouteHandler:
    @get(
        "/riders",
        media_type=MediaType.JSON,
        opt=_READ,
        summary="Where the riders were at an instant",
        responses=errors(400, 422, 503),
        tags=["features"],
    )
    async def get_riders(at: At = None, axis: OnAxis = None, position: AtPosition = None) -> Response[dict[str, Any]]:
        """The latest ping by effective time of each rider who had one in the hour of `at` or in the hour before.

        A ping that was sent to be more than 2 s later than its reception is effective as of the reception.
        `{items: [{rider_id, latitude, longitude, event_timestamp_ms, position}], at_ms, position, more}`, at most
        2,000; `more` says whether there were more. Without `at` and `position`: as of the end of the log.
        """
        when = as_of(at, axis, position) or AsOf.happened(now_ms())
        then = await read_past(when, partial(views.places.at, when))
        body = {
            "items": [place._asdict() for place in then.riders],
            "at_ms": then.horizon.at_ms,
            "position": then.horizon.position,
            "more": then.more,
        }
        return ReadyAnswer(body_of(body), {})

    return get_riders


def _window(views: RiderViews) -> HTTPRouteHandler:
    @get(
        "/riders/{rider_id:str}/window",
        media_type=MediaType.JSON,
        opt=_READ,
        summary="The pings behind the rider's speed",
        responses=errors(400, 404, 422, 503),
        tags=["features"],
    )
    async def get_window(
        rider_id: FromPath[str], at: At = None, axis: OnAxis = None, position: AtPosition = None
    ) -> Response[dict[str, Any]]:
        """The speed as in `/riders/{rider_id}/speed`, expired values included, and `pings`: those of its window.

        Each ping has its time, coordinates, accuracy and device speed, the `weight` that it has in `speed_mps`, or why
        it is `rejected`.
        """
        when = as_of(at, axis, position)
        if when is None:
            state, at_ms = await _live(views.speeds, rider_id), now_ms()
        else:
            past = await read_past(when, partial(views.tracks.state, rider_id, when))
            state, at_ms = None if past.found is None else past.found.state, past.horizon.at_ms
        if state is None:
            raise ApiError(404, "unknown_rider", "no event of this rider counts as of then")
        values = row(rider_id, features(state), at_ms, views.limits, allow_expired=True)
        return ReadyAnswer(body_of({**values, "at_ms": at_ms, "pings": explained(state)}), {})

    return get_window


def _track(views: RiderViews) -> HTTPRouteHandler:
    @get(
        "/riders/{rider_id:str}/track",
        media_type=MediaType.JSON,
        opt=_READ,
        summary="The rider's latest pings, each with the speed after it",
        responses=errors(400, 422, 503),
        tags=["features"],
    )
    async def get_track(
        rider_id: FromPath[str],
        events: Events = DEFAULT_EVENTS,
        at: At = None,
        axis: OnAxis = None,
        position: AtPosition = None,
    ) -> Response[dict[str, Any]]:
        """The pings among the rider's latest events in the order of the log, folded one by one as in serving.

        `{rider_id, at_ms, position, points: [{position, event_id, event_timestamp_ms, received_timestamp_ms, latitude,
        longitude, accuracy_meters, device_speed_mps, speed_mps, path_speed_mps}]}`; no points for an unknown rider.
        """
        wanted = whole_number("events", events)
        if not 1 <= wanted <= MAX_TRACK_EVENTS:
            raise ApiError(400, "invalid_limit", f"events is from 1 to {MAX_TRACK_EVENTS:,}, not {wanted}")
        when = as_of(at, axis, position) or AsOf.happened(now_ms())
        found = await read_past(when, partial(views.tracks.at, rider_id, when, wanted))
        body = {
            "rider_id": rider_id,
            "at_ms": found.horizon.at_ms,
            "position": found.horizon.position,
            "points": found.points,
        }
        return ReadyAnswer(body_of(body), {})

    return get_track


async def _live(reader: StateReader, rider_id: str) -> SpeedState | None:
    try:
        found = await reader.get(rider_id) or await reader.get_with_fence(rider_id)
    except ReadModelUnavailable as error:
        raise unavailable("read_model_unavailable", str(error)) from error
    return decode(found.state) if isinstance(found, FoundState) else None
