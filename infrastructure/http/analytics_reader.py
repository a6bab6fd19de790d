"""Reads the present analytics rows, with one database snapshot for all queries of a request."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from sqlalchemy import Engine

from infrastructure.http.live_rows import LiveRows, Row
from read_models.analytics import queries
from read_models.analytics.tables import NAME


class AnalyticsReader(Protocol):
    """Reads the rows of one generation at one instant, present or past.

    ``place`` and ``fences``: which generation and how far it is. ``moment``: the instant, which is the default end of a
    span.
    """

    def riders(
        self, since: datetime, until: datetime, above_mps: float | None, after: str | None, limit: int
    ) -> list[Row]: ...

    def hours_of(
        self, rider_id: str, since: datetime | None, until: datetime | None, after: datetime | None, limit: int
    ) -> list[Row]: ...

    def latest_hour_of(self, rider_id: str) -> datetime | None: ...

    def fleet(self, since: datetime, until: datetime, after: datetime | None, limit: int) -> list[Row]: ...

    def moment(self) -> datetime: ...

    def place(self) -> Row: ...

    def fences(self) -> dict[str, int]: ...


class LiveAnalyticsReader(LiveRows):
    """``AnalyticsReader`` of the active generation. Raises ApiError (503)."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, NAME)

    def riders(
        self, since: datetime, until: datetime, above_mps: float | None, after: str | None, limit: int
    ) -> list[Row]:
        return self.rows(queries.riders(since, until, above_mps, after, limit))

    def hours_of(
        self, rider_id: str, since: datetime | None, until: datetime | None, after: datetime | None, limit: int
    ) -> list[Row]:
        return self.rows(queries.hours_of(rider_id, since, until, after, limit))

    def latest_hour_of(self, rider_id: str) -> datetime | None:
        return self._connection.execute(queries.latest_hour_of(rider_id)).scalar_one_or_none()

    def fleet(self, since: datetime, until: datetime, after: datetime | None, limit: int) -> list[Row]:
        return self.rows(queries.fleet(since, until, after, limit))
