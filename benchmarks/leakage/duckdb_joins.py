"""As-of joins in DuckDB: the two plain ones, and the most careful query that one table allows."""

from __future__ import annotations

from typing import Any

import duckdb

from benchmarks.leakage.history import Ask, Axis, Feature, Trap
from benchmarks.leakage.stores import Answer, Setting, value
from benchmarks.leakage.table_rows import tables_of

BY_EVENT = Setting("by event time", (Axis.KNOWN, Axis.EVENT))
BY_CREATED = Setting("by created time", (Axis.KNOWN,))
CAREFUL = Setting("careful SQL", (Axis.KNOWN, Axis.EVENT))

_ASOF = (
    "SELECT CASE WHEN a.at_ms - r.event_ms <= a.ttl_ms THEN r.value END"
    " FROM (SELECT ? AS entity, ?::BIGINT AS at_ms, ?::BIGINT AS ttl_ms) a"
    " ASOF LEFT JOIN {table} r ON a.entity = r.entity AND a.at_ms >= r.{column}"
)
_CAREFUL = (
    "SELECT r.value FROM (SELECT ? AS entity, ?::BIGINT AS at_ms, ?::BIGINT AS ttl_ms) a"
    " JOIN {table} r ON a.entity = r.entity AND r.event_ms <= a.at_ms AND {known}"
    " WHERE a.at_ms - r.event_ms <= a.ttl_ms ORDER BY r.event_ms DESC, r.created_ms DESC LIMIT 1"
)
_PLAIN_AGGREGATES = {Feature.COUNT: "count(*)", Feature.TOTAL: "sum(value)"}
# fsum compensates the rounding of each addition.
_CAREFUL_AGGREGATES = {Feature.COUNT: "count(DISTINCT (name, event_ms))", Feature.TOTAL: "fsum(value)"}
_NO_TTL_MS = 1 << 60


class DuckDbJoins:
    """One table in memory for each definition of the feature."""

    name = "DuckDB"
    settings = (BY_EVENT, BY_CREATED, CAREFUL)

    def __init__(self) -> None:
        self._connection = duckdb.connect()
        self._ttl_ms = _NO_TTL_MS

    def versions(self) -> dict[str, str]:
        return {"duckdb": duckdb.__version__}

    def load(self, trap: Trap) -> None:
        self._ttl_ms = trap.ttl_ms or _NO_TTL_MS
        for definition, rows in enumerate(tables_of(trap), start=1):
            self._connection.execute(
                f"CREATE OR REPLACE TABLE rows{definition}"
                " (entity VARCHAR, event_ms BIGINT, created_ms BIGINT, value DOUBLE, name VARCHAR)"
            )
            for row in rows:
                self._connection.execute(f"INSERT INTO rows{definition} VALUES (?, ?, ?, ?, ?)", list(row))

    def ask(self, ask: Ask, setting: Setting) -> Answer:
        table = f"rows{ask.definition}"
        if ask.feature is not Feature.LATEST:
            return value(self._aggregate(table, ask, setting))
        known = "true" if ask.axis is Axis.EVENT else "r.created_ms <= a.at_ms"
        query = _CAREFUL if setting == CAREFUL else _ASOF
        column = "created_ms" if setting == BY_CREATED else "event_ms"
        return value(self._one(query.format(table=table, column=column, known=known), ask, self._ttl_ms))

    def _aggregate(self, table: str, ask: Ask, setting: Setting) -> float | None:
        careful = setting == CAREFUL
        aggregate = (_CAREFUL_AGGREGATES if careful else _PLAIN_AGGREGATES)[ask.feature]
        column = "created_ms" if setting == BY_CREATED else "event_ms"
        known = " AND created_ms <= a.at_ms" if careful and ask.axis is Axis.KNOWN else ""
        query = (
            f"SELECT {aggregate} FROM {table} r, (SELECT ? AS entity, ?::BIGINT AS at_ms) a"
            f" WHERE r.entity = a.entity AND r.{column} <= a.at_ms{known}"
        )
        return self._one(query, ask)

    def _one(self, query: str, ask: Ask, *more: Any) -> float | None:
        row = self._connection.execute(query, [ask.entity, ask.at_ms, *more]).fetchone()
        return None if row is None or row[0] is None else float(row[0])
