"""The queries on the analytics tables, each one statement that reads the active generation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ScalarSelect, Select, cast, column, func, select, table, text, true

from read_models.analytics.rows import HOUR_MAXIMA, HOUR_SUMS, MINUTE_SUMS
from read_models.analytics.tables import NAME, fleet_minutes, rider_hours

_generations = table("projection_generations", column("projection"), column("generation"), column("active"))
_shards = table("projection_shards", column("projection"), column("generation"), column("shard"))
_fences = table(
    "projection_fences",
    column("projection"),
    column("generation"),
    column("shard"),
    column("number"),
    column("seq"),
    column("position"),
)

BY_INDEX = text("SET LOCAL enable_seqscan = off")
"""Run before a page query. The planner assumes that a filter on sums is unselective and would read and sort the whole
table for every page; an index scan stops when the page is full."""

h, m = rider_hours.c, fleet_minutes.c


def active_generation() -> ScalarSelect[Any]:
    """A subquery for each statement, so that a switch of generations cannot happen in the middle of one."""
    g = _generations.c
    return select(g.generation).where(g.projection == NAME, g.active).scalar_subquery()


def fences() -> Select[Any]:
    """(generation, shard, seq, position): the fences of the active generation, which say what its rows hold."""
    s, f = _shards.c, _fences.c
    of_shard = (f.projection == s.projection) & (f.generation == s.generation) & (f.shard == s.shard)
    # The newest row of each shard is its current fence.
    newest = select(f.seq, f.position).where(of_shard).order_by(f.number.desc()).limit(1).lateral("fence")
    return (
        select(s.generation, s.shard, newest.c.seq, newest.c.position)
        .select_from(_shards.join(newest, true()))
        .where(s.projection == NAME, s.generation == active_generation())
        .order_by(s.shard)
    )


def riders(since: datetime, until: datetime, above_mps: float | None, after: str | None, limit: int) -> Select[Any]:
    """Sums of each rider over the hours in [since, until), by rider; of riders whose mean speed is above the limit."""
    sums = {name: func.sum(h[name]) for name in HOUR_SUMS}
    maxima = [func.max(h[name]).label(name) for name in HOUR_MAXIMA]
    query = (
        select(h.rider_id, *(cast(value, BigInteger).label(name) for name, value in sums.items()), *maxima)
        .where(h.generation == active_generation(), h.hour >= since, h.hour < until)
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
        .where(h.generation == active_generation(), h.rider_id == rider_id)
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
        .where(h.generation == active_generation(), h.rider_id == rider_id)
        .order_by(h.hour.desc())
        .limit(1)
    )


def fleet(since: datetime, until: datetime, after: datetime | None, limit: int) -> Select[Any]:
    """The minutes in [since, until), each the sum of its partials by shard."""
    query = (
        select(m.minute, *(cast(func.sum(m[name]), BigInteger).label(name) for name in MINUTE_SUMS))
        .where(m.generation == active_generation(), m.minute >= since, m.minute < until)
        .group_by(m.minute)
        .order_by(m.minute)
        .limit(limit)
    )
    return query if after is None else query.where(m.minute > after)
