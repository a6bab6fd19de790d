"""``GET /analytics/outcome-…``: how deliveries ended, by hour, by restaurant's place and by rider."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Protocol

from litestar import Router, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter
from sqlalchemy import Engine

from infrastructure.http.errors import errors
from infrastructure.http.live_rows import LiveRows, Row
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
from infrastructure.replay.past_reads import PastOutcomes, RowReplay
from projections.replay.as_of import AsOf
from read_models.outcomes import queries
from read_models.outcomes.tables import NAME

_READ: Final = {"role": "read"}
_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_ERRORS: Final = errors(400, 422, 503)

Place = Annotated[str | None, Parameter(description="only this place, such as 52.5200,13.4049")]
RiderId = Annotated[str | None, Parameter(description="only this rider")]


class OutcomesReader(Protocol):
    """Reads the rows of one generation at one instant, present or past, as ``AnalyticsReader`` does."""

    def hours(self, since: datetime, until: datetime, after: datetime | None, limit: int) -> list[Row]: ...

    def places(
        self, since: datetime, until: datetime, place: str | None, after: str | None, limit: int
    ) -> list[Row]: ...

    def riders(
        self, since: datetime, until: datetime, rider_id: str | None, after: str | None, limit: int
    ) -> list[Row]: ...

    def moment(self) -> datetime: ...

    def place(self) -> Row: ...


class LiveOutcomesReader(LiveRows):
    """``OutcomesReader`` of the active generation. Raises ApiError (503)."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, NAME)

    def hours(self, since: datetime, until: datetime, after: datetime | None, limit: int) -> list[Row]:
        return self.rows(queries.hours(since, until, after, limit))

    def places(self, since: datetime, until: datetime, place: str | None, after: str | None, limit: int) -> list[Row]:
        return self.rows(queries.places(since, until, place, after, limit))

    def riders(
        self, since: datetime, until: datetime, rider_id: str | None, after: str | None, limit: int
    ) -> list[Row]:
        return self.rows(queries.riders(since, until, rider_id, after, limit))


class OutcomesReaders(Protocol):
    def __call__(self, when: AsOf | None) -> AbstractContextManager[OutcomesReader]:
        """A reader whose queries all see one state of the rows: the present, or as of an instant."""
        ...


def outcomes_router(engine: Engine, past: RowReplay) -> Router:
    """The routes under ``/analytics`` for outcomes."""

    @contextmanager
    def readings(when: AsOf | None) -> Iterator[OutcomesReader]:
        if when is None:
            with LiveOutcomesReader(engine) as live:
                yield live
            return
        with answering():
            found = PastOutcomes(past.at(when))
        yield found

    handlers = [_hours(readings), _places(readings), _riders(readings)]
    return Router("/analytics", route_handlers=handlers, tags=["analytics"])


def _hours(readings: OutcomesReaders) -> HTTPRouteHandler:
    @get("/outcome-hours", opt=_READ, summary="How deliveries ended, hour by hour", responses=_ERRORS)
    async def outcome_hours(
        since: Time = None,
        until: Time = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
        at: At = None,
        axis: OnAxis = None,
        position: AtPosition = None,
    ) -> dict[str, Any]:
        """Deliveries by the hour (UTC) in which they ended. ``since`` (default: a day before ``until``) and ``until``
        (default: now, or the instant of the query) are rounded down to the hour."""
        start, end = instant("since", since), instant("until", until)
        wanted, after = checked_limit(limit), decode_time_cursor(cursor, "hour")
        when = as_of(at, axis, position)

        def read_page() -> dict[str, Any]:
            with readings(when) as read:
                rows = read.hours(*_span(read, start, end), after, wanted + 1)
                return page([outcome_row(row) for row in rows], wanted, "hour", **read.place())

        return await in_thread(when, read_page)

    return outcome_hours


def _places(readings: OutcomesReaders) -> HTTPRouteHandler:
    @get("/outcome-places", opt=_READ, summary="How deliveries ended, by restaurant's place", responses=_ERRORS)
    async def outcome_places(
        since: Time = None,
        until: Time = None,
        place: Place = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
        at: At = None,
        axis: OnAxis = None,
        position: AtPosition = None,
    ) -> dict[str, Any]:
        """Sums over the hours of the span, as in ``outcome-hours``. Sorted by place."""
        start, end = instant("since", since), instant("until", until)
        wanted, after = checked_limit(limit), decode_cursor(cursor, "place")
        when = as_of(at, axis, position)

        def read_page() -> dict[str, Any]:
            with readings(when) as read:
                span = _span(read, start, end)
                rows = [] if _is_no_text(place) else read.places(*span, place, after, wanted + 1)
                return page([outcome_row(row) for row in rows], wanted, "place", **read.place())

        return await in_thread(when, read_page)

    return outcome_places


def _riders(readings: OutcomesReaders) -> HTTPRouteHandler:
    @get("/outcome-riders", opt=_READ, summary="How deliveries ended, by rider", responses=_ERRORS)
    async def outcome_riders(
        since: Time = None,
        until: Time = None,
        rider_id: RiderId = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
        at: At = None,
        axis: OnAxis = None,
        position: AtPosition = None,
    ) -> dict[str, Any]:
        """Sums over the hours of the span, as in ``outcome-hours``. Sorted by rider id. A delivery counts for the rider
        who had it when it ended, and as ``unassigned`` for each who was taken off it."""
        start, end = instant("since", since), instant("until", until)
        wanted, after = checked_limit(limit), decode_cursor(cursor, "rider_id")
        when = as_of(at, axis, position)

        def read_page() -> dict[str, Any]:
            with readings(when) as read:
                span = _span(read, start, end)
                rows = [] if _is_no_text(rider_id) else read.riders(*span, rider_id, after, wanted + 1)
                return page([outcome_row(row) for row in rows], wanted, "rider_id", **read.place())

        return await in_thread(when, read_page)

    return outcome_riders


def outcome_row(row: Row) -> Row:
    """Add what is computed at read: means in seconds and the share beyond the P90; null without any delivery."""
    return row | {
        "duration_mean_s": _mean_s(row["placed_to_completed_ms"], row["completed"]),
        "lateness_mean_s": _mean_s(row["lateness_ms"], row["promised"]),
        "eta_error_mean_s": _mean_s(row["eta_error_ms"], row["etas"]),
        "eta_abs_error_mean_s": _mean_s(row["eta_abs_error_ms"], row["etas"]),
        "beyond_p90_share": row["beyond_p90"] / row["etas"] if row["etas"] else None,
    }


def _mean_s(total_ms: int, count: int) -> float | None:
    return total_ms / count / 1_000 if count else None


def _span(read: OutcomesReader, start: datetime | None, end: datetime | None) -> tuple[datetime, datetime]:
    last = full_hour(end or later_by(read.moment(), _HOUR))
    return full_hour(start or last - _DAY), last


def _is_no_text(text: str | None) -> bool:
    """Whether Postgres cannot take the text: no recorded id or place has these characters."""
    if text is None:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return "\0" in text
