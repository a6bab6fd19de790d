"""The queries on the analytics tables, each one statement that reads the active generation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Select, cast, func, select

from read_models.analytics.rows import HOUR_MAXIMA, HOUR_SUMS, MINUTE_SUMS
from read_models.analytics.tables import NAME, fleet_minutes, rider_hours
from read_models.generations import active_generation

h, m = rider_hours.c, fleet_minutes.c


def riders(since: datetime, until: datetime, above_mps: float | None, after: str | None, limit: int) -> Select[Any]:
    """Sums of each rider over the hours in [since, until), by rider; of riders whose mean speed is above the limit."""
    sums = {name: func.sum(h[name]) for name in HOUR_SUMS}
    maxima = [func.max(h[name]).label(name) for name in HOUR_MAXIMA]
    query = (
        select(h.rider_id, *(cast(value, BigInteger).label(name) for name, value in sums.items()), *maxima)
        .where(h.generation == active_generation(NAME), h.hour >= since, h.hour < until)
        .group_by(h.rider_id)
        .order_by(h.rider_id)
        .limit(limit)
    )
    if above_mps is not None:
        # mm / ms = m / s. Multiplied out, since a rider who never moved has no mean.
        query = query.having(sums["moving_mm"] > above_mps * sums["moving_ms"])
    return query if after is None else query.where(h.rider_id > after)


def hours_of(
    rider_id: str, since: datetime | None, until: datetime | None, after: datetime | None, limit: int
) -> Select[Any]:
    """One rider's hours in [since, until), in order."""
    query = (
        select(h.hour, *(h[name] for name in (*HOUR_SUMS, *HOUR_MAXIMA)))
        .where(h.generation == active_generation(NAME), h.rider_id == rider_id)
        .order_by(h.hour)
        .limit(limit)
    )
    if since is not None:
        query = query.where(h.hour >= since)
    if until is not None:
        query = query.where(h.hour < until)
    return query if after is None else query.where(h.hour > after)


def latest_hour_of(rider_id: str) -> Select[Any]:
    """The newest hour of a rider; no row if the rider is unknown."""
    return (
        select(h.hour)
        .where(h.generation == active_generation(NAME), h.rider_id == rider_id)
        .order_by(h.hour.desc())
        .limit(1)
    )


def fleet(since: datetime, until: datetime, after: datetime | None, limit: int) -> Select[Any]:
    """The minutes in [since, until), each the sum of its partials by shard."""
    query = (
        select(m.minute, *(cast(func.sum(m[name]), BigInteger).label(name) for name in MINUTE_SUMS))
        .where(m.generation == active_generation(NAME), m.minute >= since, m.minute < until)
        .group_by(m.minute)
        .order_by(m.minute)
        .limit(limit)
    )
    return query if after is None else query.where(m.minute > after)


def riders_of_hours(since: datetime, until: datetime, limit: int) -> Select[Any]:
    """The ids of riders with an event in the hours from that of ``since`` to that of ``until``, sorted."""
    first = since.replace(minute=0, second=0, microsecond=0)
    return (
        select(h.rider_id)
        .where(h.generation == active_generation(NAME), h.hour >= first, h.hour <= until)
        .distinct()
        .order_by(h.rider_id)
        .limit(limit)
    )
