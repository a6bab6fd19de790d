"""Rows and fences of the counting projection, to write to a Postgres sink and to read back."""

from __future__ import annotations

from sqlalchemy import Engine, select

from projections.core.ports import (
    ApplyOutcome,
    Fence,
)
from read_models.rows import RowChange
from tests.support.worlds.counting_projection import counted

APPLIED = ApplyOutcome.APPLIED
START = Fence("log-1", "one", 0, 0)


def at(seq: int) -> Fence:
    return START._replace(seq=seq, position=seq * 10)


def row(key: str, hour: int, seen: int, small: int = 0, last: int | None = None) -> RowChange:
    return RowChange("counted", (key, hour), (seen, small), None if last is None else (last,))


def stored(engine: Engine) -> list[tuple[object, ...]]:
    query = select(*counted.c).order_by(counted.c.generation, counted.c.shard, counted.c.key, counted.c.hour)
    with engine.connect() as connection:
        return [tuple(found) for found in connection.execute(query)]
