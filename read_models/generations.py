"""SQL that every read model in Postgres shares: which generation readers follow, and how far it is."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ScalarSelect, Select, column, select, table, text, true
from sqlalchemy.sql.selectable import LateralFromClause

_generations = table("projection_generations", column("projection"), column("generation"), column("active"))
_shards = table("projection_shards", column("projection"), column("generation"), column("shard"))
_fences = table(
    "projection_fences",
    column("projection"),
    column("generation"),
    column("shard"),
    column("number"),
    column("log_id"),
    column("seq"),
    column("position"),
)

BY_INDEX = text("SET LOCAL enable_seqscan = off")
"""Run before a page query. The planner assumes that a filter is unselective and would read and sort the whole table for
every page; an index scan stops when the page is full."""


def active_generation(projection: str) -> ScalarSelect[Any]:
    """A subquery for each statement, so that a switch of generations cannot happen in the middle of one."""
    g = _generations.c
    return select(g.generation).where(g.projection == projection, g.active).scalar_subquery()


def newest_fence(projection: Any, generation: Any, shard: Any) -> LateralFromClause:
    """(log_id, seq, position) of one shard, to join: of its rows, the newest is its fence."""
    f = _fences.c
    of_shard = (f.projection == projection) & (f.generation == generation) & (f.shard == shard)
    return select(f.log_id, f.seq, f.position).where(of_shard).order_by(f.number.desc()).limit(1).lateral("fence")


def fences(projection: str) -> Select[Any]:
    """(generation, shard, seq, position): the fences of the active generation, which say what its rows hold."""
    s = _shards.c
    newest = newest_fence(s.projection, s.generation, s.shard)
    return (
        select(s.generation, s.shard, newest.c.seq, newest.c.position)
        .select_from(_shards.join(newest, true()))
        .where(s.projection == projection, s.generation == active_generation(projection))
        .order_by(s.shard)
    )
