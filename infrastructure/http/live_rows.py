"""Reads the present rows of a projection's tables, with one database snapshot for all queries of a request."""

from __future__ import annotations

from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, Select
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.http.errors import ApiError, unavailable
from read_models.generations import BY_INDEX, fences

Row = dict[str, Any]


class LiveRows:
    """Rows of the active generation of ``projection``. Raises ApiError (503)."""

    def __init__(self, engine: Engine, projection: str) -> None:
        self._engine = engine
        self._projection = projection

    def __enter__(self) -> Self:
        try:
            self._connection: Connection = self._engine.connect().execution_options(isolation_level="REPEATABLE READ")
            self._connection.execute(BY_INDEX)
            self._fences = self.rows(fences(self._projection))
        except SQLAlchemyError as error:
            raise _unavailable(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        if isinstance(error, SQLAlchemyError):
            raise _unavailable(error) from error

    def moment(self) -> datetime:
        return datetime.now(UTC)

    def place(self) -> Row:
        """The generation that answers; None before any event is folded."""
        return {"generation": self._fences[0]["generation"] if self._fences else None}

    def fences(self) -> dict[str, int]:
        return {str(row["shard"]): row["seq"] for row in self._fences}

    def rows(self, query: Select[Any]) -> list[Row]:
        return [dict(row) for row in self._connection.execute(query).mappings()]


def _unavailable(error: SQLAlchemyError) -> ApiError:
    return unavailable("read_model_unavailable", f"Postgres: {str(error).splitlines()[0]}")
