"""As-of joins with pandas.merge_asof, by event time and by created time."""

from __future__ import annotations

import pandas

from benchmarks.leakage.history import Ask, Axis, Feature, Trap
from benchmarks.leakage.stores import Answer, Setting, value
from benchmarks.leakage.table_rows import HistoryTables, TableRow, tables_of

BY_EVENT = Setting("by event time", (Axis.KNOWN, Axis.EVENT))
BY_CREATED = Setting("by created time", (Axis.KNOWN,))


class PandasJoins:
    """One frame for each question. ``tolerance``, the time to live of merge_asof, is by the column of the join."""

    name = "pandas"
    settings = (BY_EVENT, BY_CREATED)

    def __init__(self) -> None:
        self._tables = HistoryTables([], [])
        self._ttl_ms: int | None = None

    def versions(self) -> dict[str, str]:
        return {"pandas": pandas.__version__}

    def load(self, trap: Trap) -> None:
        self._tables = tables_of(trap)
        self._ttl_ms = trap.ttl_ms

    def ask(self, ask: Ask, setting: Setting) -> Answer:
        column = "created_ms" if setting == BY_CREATED else "event_ms"
        rows = pandas.DataFrame(self._tables.of(ask.definition), columns=list(TableRow._fields))
        if ask.feature is not Feature.LATEST:
            counted = rows[(rows["entity"] == ask.entity) & (rows[column] <= ask.at_ms)]["value"]
            return value(float(len(counted) if ask.feature is Feature.COUNT else counted.sum()))
        asked = pandas.DataFrame({"entity": [ask.entity], column: [ask.at_ms]})
        # A stable sort: of one time, the row that was written last is the last one.
        ordered = rows.sort_values(column, kind="stable")
        found = pandas.merge_asof(asked, ordered, on=column, by="entity", tolerance=self._ttl_ms)["value"].iloc[0]
        return value(None if pandas.isna(found) else float(found))
