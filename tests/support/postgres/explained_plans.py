"""Explains every query that an engine runs, with the settings and parameters that it runs with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, event


class PlanNode(NamedTuple):
    """One node of a plan that was run. ``passed``: the rows that it returned or filtered out, over all its loops."""

    kind: str
    relation: str | None
    passed: int
    query: str


@contextmanager
def explained(engine: Engine) -> Iterator[list[PlanNode]]:
    """The nodes of the plans of all queries that read a table until the end of the block."""
    found: list[PlanNode] = []

    def explain(connection: Connection, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not statement.lstrip().startswith(("SELECT", "WITH")):
            return
        cursor = connection.connection.cursor()
        try:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            [[[whole]]] = cursor.fetchall()
            found.extend(_nodes(whole["Plan"], statement))
        finally:
            cursor.close()

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", explain)


def _nodes(plan: dict[str, Any], query: str) -> Iterator[PlanNode]:
    loops = plan["Actual Loops"]
    removed = sum(value for name, value in plan.items() if name.startswith("Rows Removed by"))
    passed = round((plan["Actual Rows"] + removed) * loops)
    yield PlanNode(plan["Node Type"], plan.get("Relation Name"), passed, query)
    for child in plan.get("Plans", ()):
        yield from _nodes(child, query)
