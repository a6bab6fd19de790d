"""The queries on the tables of outcomes, each one statement that reads the active generation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Select, Table, cast, func, select

from read_models.generations import active_generation
from read_models.outcomes.rows import SUMS
from read_models.outcomes.tables import NAME, outcome_hours, outcome_places, outcome_riders


def hours(since: datetime, until: datetime, after: datetime | None, limit: int) -> Select[Any]:
    """The hours in [since, until), each the sum of its partials by shard."""
    c = outcome_hours.c
    query = _sums(outcome_hours, "hour", since, until).limit(limit)
    return query if after is None else query.where(c.hour > after)


def places(since: datetime, until: datetime, place: str | None, after: str | None, limit: int) -> Select[Any]:
    """Sums of each restaurant's place over the hours in [since, until), by place; of one place if it is named."""
    return _by_key(outcome_places, "place", (since, until), place, after).limit(limit)


def riders(since: datetime, until: datetime, rider_id: str | None, after: str | None, limit: int) -> Select[Any]:
    """Sums of each rider over the hours in [since, until), by rider; of one rider if it is named."""
    return _by_key(outcome_riders, "rider_id", (since, until), rider_id, after).limit(limit)


def _by_key(
    table: Table, key: str, span: tuple[datetime, datetime], wanted: str | None, after: str | None
) -> Select[Any]:
    query = _sums(table, key, *span)
    if wanted is not None:
        query = query.where(table.c[key] == wanted)
    return query if after is None else query.where(table.c[key] > after)


def _sums(table: Table, key: str, since: datetime, until: datetime) -> Select[Any]:
    """Sums over the hours in [since, until), by ``key``. A row that a later event undid adds nothing and is no row."""
    c = table.c
    sums = {name: func.sum(c[name]) for name in SUMS}
    counted = sums["completed"] + sums["cancelled"] + sums["unassigned"]
    return (
        select(c[key], *(cast(value, BigInteger).label(name) for name, value in sums.items()))
        .where(c.generation == active_generation(NAME), c.hour >= since, c.hour < until)
        .group_by(c[key])
        .having(counted != 0)
        .order_by(c[key])
    )
