"""Reports which rows the statements of an engine make the server read, from the server's own statistics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Engine, event


class Touched(NamedTuple):
    """Rows that one statement made the server read in tables and indexes, also those that a filter dropped; and rows
    that came back."""

    statement: str
    read: int
    returned: int


@contextmanager
def touched(engine: Engine) -> Iterator[list[Touched]]:
    """Each query and INSERT meanwhile, which runs a second time under EXPLAIN: one that may run twice."""
    seen: list[Touched] = []

    def explain(connection: Any, cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH", "INSERT")):
            with connection.connection.cursor() as other:
                other.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values)
                plan = other.fetchone()[0][0]["Plan"]
            seen.append(Touched(statement, _read(plan), round(plan["Actual Rows"])))

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", explain)


def _read(plan: dict[str, Any]) -> int:
    below = sum(_read(one) for one in plan.get("Plans", []))
    if "Relation Name" not in plan or not plan["Node Type"].endswith("Scan"):
        return below
    rows = float(plan["Actual Rows"]) + float(plan.get("Rows Removed by Filter", 0))
    return below + round(rows * float(plan["Actual Loops"]))
