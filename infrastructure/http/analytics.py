"""``GET /analytics/…``: the rows of the analytics read model, filtered and paged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from litestar import Router, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, Parameter
from sqlalchemy import Connection, Engine, Select
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.http.described import errors
from infrastructure.http.errors import ApiError, unavailable
from infrastructure.http.paging import (
    DEFAULT_LIMIT,
    checked_limit,
    decode_cursor,
    decode_time_cursor,
    instant,
    page,
)
from read_models import analytics_queries as queries

_READ: Final = {"role": "read"}
_DAY = timedelta(days=1)

Time = Annotated[str | None, Parameter(description="epoch milliseconds, or RFC 3339 with zone")]
Limit = Annotated[int, Parameter(description="rows a page, 1 to 1,000")]
Cursor = Annotated[str | None, Parameter(description="`next` of the page before")]


def analytics_router(engine: Engine) -> Router:
    """Everything under ``/analytics``."""
    return Router("/analytics", route_handlers=[_riders(engine), _rider(engine), _fleet(engine)], tags=["analytics"])


def _riders(engine: Engine) -> HTTPRouteHandler:
    @get(
        "/riders",
        opt=_READ,
        sync_to_thread=True,
        summary="Riders, with sums over their hours",
        responses=errors(400, 503),
    )
    def riders(
        since: Time = None,
        until: Time = None,
        min_speed_mps: Annotated[
            float | None, Parameter(description="only riders whose mean speed while moving is above this")
        ] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        """By rider id. Whole hours: ``since`` (a day before ``until``) and ``until`` (now) go down to the hour."""
        end = instant("until", until) or datetime.now(UTC) + timedelta(hours=1)
        start = _full_hour(instant("since", since) or end - _DAY)
        if min_speed_mps is not None and not 0 <= min_speed_mps < 1_000:
            raise ApiError(400, "invalid_speed", "min_speed_mps is from 0 to 1,000 metres a second")
        wanted, after = checked_limit(limit), decode_cursor(cursor)
        with _reading(engine) as read:
            rows = read.rows(queries.riders(start, _full_hour(end), min_speed_mps, after, wanted + 1))
            return page([_hour_row(row) for row in rows], wanted, "rider_id", **read.position())

    return riders


def _rider(engine: Engine) -> HTTPRouteHandler:
    @get(
        "/riders/{rider_id:str}",
        opt=_READ,
        sync_to_thread=True,
        summary="One rider, hour by hour",
        responses=errors(400, 404, 503),
    )
    def rider(
        rider_id: FromPath[str],
        since: Time = None,
        until: Time = None,
        day: Annotated[str | None, Parameter(description="YYYY-MM-DD in UTC, instead of since and until")] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        """The hours of a day or of a span; without either, of the last day (UTC) on which the rider was heard of."""
        start, end = instant("since", since), instant("until", until)
        if day is not None:
            if start is not None or end is not None:
                raise ApiError(400, "invalid_request", "give either day, or since and until")
            start = _day(day)
            end = start + _DAY
        wanted, after = checked_limit(limit), decode_time_cursor(cursor)
        with _reading(engine) as read:
            newest = read.rows(queries.latest_hour_of(rider_id)) if "\0" not in rider_id else []
            if not newest:
                raise ApiError(404, "unknown_rider", "no ping of this rider is in the analytics yet")
            if start is None and end is None:
                start = newest[0]["hour"].astimezone(UTC).replace(hour=0)
                end = start + _DAY
            start = _full_hour(start) if start is not None else None
            rows = read.rows(queries.hours_of(rider_id, start, end, after, wanted + 1))
            return page([_hour_row(row) for row in rows], wanted, "hour", rider_id=rider_id, **read.position())

    return rider


def _fleet(engine: Engine) -> HTTPRouteHandler:
    @get(
        "/fleet",
        opt=_READ,
        sync_to_thread=True,
        summary="The fleet, minute by minute",
        responses=errors(400, 503),
    )
    def fleet(
        since: Time = None, until: Time = None, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> dict[str, Any]:
        """The minutes from ``since`` (an hour before ``until``) to ``until`` (now). ``fences``: the seq of each shard
        up to which the sums hold every event."""
        end = instant("until", until) or datetime.now(UTC)
        start = instant("since", since) or end - timedelta(hours=1)
        wanted, after = checked_limit(limit), decode_time_cursor(cursor)
        with _reading(engine) as read:
            rows = read.rows(queries.fleet(start.replace(second=0, microsecond=0), end, after, wanted + 1))
            return page([_speeds(row) for row in rows], wanted, "minute", **read.position(), fences=read.fences())

    return fleet


class _reading:
    """One snapshot of the database for all queries of a request: rows and fences of one generation at one instant."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> _reading:
        try:
            self._connection: Connection = self._engine.connect().execution_options(isolation_level="REPEATABLE READ")
            self._connection.execute(queries.BY_INDEX)
            self._fences = self.rows(queries.fences())
        except SQLAlchemyError as error:
            raise _away(error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        self._connection.close()
        if isinstance(error, SQLAlchemyError):
            raise _away(error) from error

    def rows(self, query: Select[Any]) -> list[dict[str, Any]]:
        return [dict(row) for row in self._connection.execute(query).mappings()]

    def position(self) -> dict[str, Any]:
        """Which generation answers; None before anything is folded."""
        return {"generation": self._fences[0]["generation"] if self._fences else None}

    def fences(self) -> dict[str, int]:
        return {str(row["shard"]): row["seq"] for row in self._fences}


def _hour_row(row: dict[str, Any]) -> dict[str, Any]:
    fastest = row.pop("speed_max_mm_s")
    return _speeds(row) | {"speed_max_mps": None if fastest is None else fastest / 1000}


def _speeds(row: dict[str, Any]) -> dict[str, Any]:
    """With what is computed at read: metres, and the mean speed while moving (mm / ms), null if nobody moved."""
    moving_ms = row["moving_ms"]
    return row | {
        "distance_m": row["distance_mm"] / 1000,
        "speed_mean_mps": row["moving_mm"] / moving_ms if moving_ms else None,
    }


def _full_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise ApiError(400, "invalid_time", f"day is YYYY-MM-DD, not {text[:40]!r}") from error


def _away(error: SQLAlchemyError) -> ApiError:
    return unavailable("read_model_unavailable", f"Postgres: {str(error).splitlines()[0]}")
