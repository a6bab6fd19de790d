"""A history as the rows of a table with a column "created", as a pipeline would have written them."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.leakage.history import BackUp, Detach, Event, Redefine, Trap


class TableRow(NamedTuple):
    """Milliseconds of the history. ``name``: the identity of the event, for stores that count."""

    entity: str
    event_ms: int
    created_ms: int
    value: float
    name: str


class HistoryTables(NamedTuple):
    """The rows of each definition after the whole history, in the order of their commits."""

    first: list[TableRow]
    second: list[TableRow]

    def of(self, definition: int) -> list[TableRow]:
        return self.first if definition == 1 else self.second


def tables_of(trap: Trap) -> HistoryTables:
    """What the tables hold after the whole history. A deletion and a restore leave no trace in a table."""
    rows = HistoryTables([], [])
    backup = HistoryTables([], [])
    for step in trap.steps:
        if isinstance(step, Event):
            rows.first.append(TableRow(step.entity, step.event_ms, step.created_ms, step.value, step.name))
        elif isinstance(step, Redefine):
            rows.second.extend(
                TableRow(row.entity, row.event_ms, row.committed_ms, row.value, f"{row.entity}@{row.event_ms}")
                for row in step.rows
            )
        elif isinstance(step, Detach):
            rows.first.clear()
            rows.second.clear()
        elif isinstance(step, BackUp):
            backup = HistoryTables([*rows.first], [*rows.second])
        else:
            rows = HistoryTables([*backup.first], [*backup.second])
    return rows
