"""Reads the present analytics rows, with one database snapshot for all queries of a request."""

from __future__ import annotations

from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol, Self

from sqlalchemy import Connection, Engine, Select
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.http.errors import ApiError, unavailable
from read_models.analytics import queries
from read_models.analytics.tables import NAME
from read_models.generations import BY_INDEX, fences

Row = dict[str, Any]


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


class LiveAnalyticsReader:
    """``AnalyticsReader`` of the active generation. Raises ApiError (503)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> Self:
        try:
            self._connection: Connection = self._engine.connect().execution_options(isolation_level="REPEATABLE READ")
            self._connection.execute(BY_INDEX)
            self._fences = self._rows(fences(NAME))
        except SQLAlchemyError as error:
            raise _unavailable(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        if isinstance(error, SQLAlchemyError):
            raise _unavailable(error) from error

    def riders(
        self, since: datetime, until: datetime, above_mps: float | None, after: str | None, limit: int
    ) -> list[Row]:
        return self._rows(queries.riders(since, until, above_mps, after, limit))

    def hours_of(
        self, rider_id: str, since: datetime | None, until: datetime | None, after: datetime | None, limit: int
    ) -> list[Row]:
        return self._rows(queries.hours_of(rider_id, since, until, after, limit))

    def latest_hour_of(self, rider_id: str) -> datetime | None:
        return self._connection.execute(queries.latest_hour_of(rider_id)).scalar_one_or_none()

    def fleet(self, since: datetime, until: datetime, after: datetime | None, limit: int) -> list[Row]:
        return self._rows(queries.fleet(since, until, after, limit))

    def moment(self) -> datetime:
        return datetime.now(UTC)

    def place(self) -> Row:
        """The generation that answers; None before any event is folded."""
        return {"generation": self._fences[0]["generation"] if self._fences else None}

    def fences(self) -> dict[str, int]:
        return {str(row["shard"]): row["seq"] for row in self._fences}

    def _rows(self, query: Select[Any]) -> list[Row]:
        return [dict(row) for row in self._connection.execute(query).mappings()]


def _unavailable(error: SQLAlchemyError) -> ApiError:
    return unavailable("read_model_unavailable", f"Postgres: {str(error).splitlines()[0]}")
