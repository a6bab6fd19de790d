"""``GET /analytics/…``: the rows of the analytics and completion read models, filtered and paged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Protocol

from litestar import Router, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, Parameter
from sqlalchemy import Engine

from domain.timestamps import utc_day
from infrastructure.http.analytics_reader import AnalyticsReader, LiveAnalyticsReader
from infrastructure.http.completion_places import completion_places_route
from infrastructure.http.errors import ApiError, errors
from infrastructure.http.paging import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    Time,
    checked_limit,
    decode_cursor,
    decode_time_cursor,
    full_hour,
    instant,
    later_by,
    page,
)
from infrastructure.http.time_travel import At, AtPosition, OnAxis, answering, as_of, in_thread
from infrastructure.replay.past_reads import PastRows
from projections.replay.as_of import AsOf

_READ: Final = {"role": "read"}
_DAY = timedelta(days=1)
_NOT_YET = "no ping of this rider is in the analytics yet"


class AnalyticsReaders(Protocol):
    def __call__(self, when: AsOf | None, rider_id: str | None = None) -> AbstractContextManager[AnalyticsReader]:
        """A reader whose queries all see one state of the rows: the present, or as of an instant.

        With ``rider_id`` it reads that rider's rows only, whose past is short.
        """
        ...


def analytics_router(engine: Engine, past: PastRows) -> Router:
    """Everything under ``/analytics``."""

    @contextmanager
    def readings(when: AsOf | None, rider_id: str | None = None) -> Iterator[AnalyticsReader]:
        if when is None:
            with LiveAnalyticsReader(engine) as live:
                yield live
            return
        with answering():
            found = past.at(when) if rider_id is None else past.of_rider(rider_id, when)
        yield found

    handlers = [_riders(readings), _rider(readings), _fleet(readings), completion_places_route(engine)]
    return Router("/analytics", route_handlers=handlers, tags=["analytics"])


def _riders(readings: AnalyticsReaders) -> HTTPRouteHandler:
    @get(
        "/riders",
        opt=_READ,
        summary="Riders, with sums over their hours",
        responses=errors(400, 422, 503),
    )
    async def riders(
        since: Time = None,
        until: Time = None,
        min_speed_mps: Annotated[
            float | None, Parameter(description="only riders whose mean speed while moving is above this")
        ] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
        at: At = None,
        axis: OnAxis = None,
        position: AtPosition = None,
    ) -> dict[str, Any]:
        """Sorted by rider id. ``since`` (default: a day before ``until``) and ``until`` (default: now, or the instant
        of the query) are rounded down to the hour."""
        start, end = instant("since", since), instant("until", until)
        if min_speed_mps is not None and not 0 <= min_speed_mps < 1_000:
            raise ApiError(400, "invalid_speed", "min_speed_mps is from 0 to 1,000 metres a second")
        wanted, after = checked_limit(limit), decode_cursor(cursor, "rider_id")
        when = as_of(at, axis, position)

        def read_page() -> dict[str, Any]:
            with readings(when) as read:
                last = end or later_by(read.moment(), timedelta(hours=1))
                first = full_hour(start or last - _DAY)
                rows = read.riders(first, full_hour(last), min_speed_mps, after, wanted + 1)
                return page([_hour_row(row) for row in rows], wanted, "rider_id", **read.place())

        return await in_thread(when, read_page)

    return riders


def _rider(readings: AnalyticsReaders) -> HTTPRouteHandler:
    @get(
        "/riders/{rider_id:str}",
        opt=_READ,
        summary="One rider, hour by hour",
        responses=errors(400, 404, 422, 503),
    )
    async def rider(
        rider_id: FromPath[str],
        since: Time = None,
        until: Time = None,
        day: Annotated[str | None, Parameter(description="YYYY-MM-DD in UTC, instead of since and until")] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
        at: At = None,
        axis: OnAxis = None,
        position: AtPosition = None,
    ) -> dict[str, Any]:
        """The hours of a day or of a span; without either, of the last day (UTC) with events of the rider."""
        start, end = instant("since", since), instant("until", until)
        if day is not None:
            if start is not None or end is not None:
                raise ApiError(400, "invalid_request", "give either day, or since and until")
            start = _day(day)
            end = start + _DAY
        wanted, after = checked_limit(limit), decode_time_cursor(cursor, "hour")
        when = as_of(at, axis, position)

        def read_page() -> dict[str, Any]:
            with readings(when, rider_id) as read:
                newest = read.latest_hour_of(rider_id) if "\0" not in rider_id else None
                if newest is None:
                    then = "no event of this rider counts as of then"
                    raise ApiError(404, "unknown_rider", _NOT_YET if when is None else then)
                first, last = start, end
                if first is None and last is None:
                    first = newest.astimezone(UTC).replace(hour=0)
                    last = first + _DAY
                first = full_hour(first) if first is not None else None
                rows = read.hours_of(rider_id, first, last, after, wanted + 1)
                return page([_hour_row(row) for row in rows], wanted, "hour", rider_id=rider_id, **read.place())

        return await in_thread(when, read_page)

    return rider


def _fleet(readings: AnalyticsReaders) -> HTTPRouteHandler:
    @get(
        "/fleet",
        opt=_READ,
        summary="The fleet, minute by minute",
        responses=errors(400, 422, 503),
    )
    async def fleet(
        since: Time = None,
        until: Time = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
        at: At = None,
        axis: OnAxis = None,
        position: AtPosition = None,
    ) -> dict[str, Any]:
        """The minutes from ``since`` (default: an hour before ``until``) to ``until`` (default: now, or the instant of
        the query). ``fences``: the seq of each shard up to which the sums contain every event."""
        start, end = instant("since", since), instant("until", until)
        wanted, after = checked_limit(limit), decode_time_cursor(cursor, "minute")
        when = as_of(at, axis, position)

        def read_page() -> dict[str, Any]:
            with readings(when) as read:
                # As of an instant includes the instant; a span excludes its end.
                last = end or later_by(read.moment(), timedelta(milliseconds=1))
                first = start or last - timedelta(hours=1)
                rows = read.fleet(first.replace(second=0, microsecond=0), last, after, wanted + 1)
                return page([_speeds(row) for row in rows], wanted, "minute", **read.place(), fences=read.fences())

        return await in_thread(when, read_page)

    return fleet


def _hour_row(row: dict[str, Any]) -> dict[str, Any]:
    fastest = row.pop("speed_max_mm_s")
    return _speeds(row) | {"speed_max_mps": None if fastest is None else fastest / 1000}


def _speeds(row: dict[str, Any]) -> dict[str, Any]:
    """Add what is computed at read: metres, and the mean speed while moving (mm / ms), null without movement."""
    moving_ms = row["moving_ms"]
    return row | {
        "distance_m": row["distance_mm"] / 1000,
        "speed_mean_mps": row["moving_mm"] / moving_ms if moving_ms else None,
    }


def _day(text: str) -> datetime:
    try:
        return utc_day(text)
    except ValueError as error:
        raise ApiError(400, "invalid_time", f"day is YYYY-MM-DD, not {text[:40]!r}") from error
