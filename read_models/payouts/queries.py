"""The queries on the table of payouts, each one statement that reads the active generation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, column, or_, select, table, true, tuple_

from domain.features.payouts.entries import ADJUSTMENT, PAYOUT
from domain.identifiers import shard_of
from read_models.generations import active_generation, newest_fence
from read_models.payouts.tables import NAME, payout_entries

p = payout_entries.c
COLUMNS = tuple(c for c in p if c.name not in {"generation", "shard"})
_states = table(
    "projection_states", column("projection"), column("generation"), column("shard"), column("key"), column("state")
)
_shards = table("projection_shards", column("projection"), column("generation"), column("shard"))


class PayoutFilters(NamedTuple):
    """Which payouts a list has; ``since`` and ``until`` are of the end of the leg, ``until`` excluded; None = any."""

    rider_id: str | None = None
    order_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def payouts(filters: PayoutFilters, after: tuple[datetime, str] | None, limit: int) -> Select[Any]:
    """Payouts without their adjustments, by (ended_at, payout_id), from the one after ``after``."""
    query = (
        select(*COLUMNS)
        .where(p.generation == active_generation(NAME), p.kind == PAYOUT)
        .order_by(p.ended_at, p.payout_id)
        .limit(limit)
    )
    if filters.rider_id is not None:
        query = query.where(p.rider_id == filters.rider_id)
    if filters.order_id is not None:
        query = query.where(p.order_id == filters.order_id)
    if filters.since is not None:
        query = query.where(p.ended_at >= filters.since)
    if filters.until is not None:
        query = query.where(p.ended_at < filters.until)
    return query if after is None else query.where(tuple_(p.ended_at, p.payout_id) > tuple_(*after))


def adjustments(payout_ids: Sequence[str]) -> Select[Any]:
    """The adjustments of these payouts, in the order in which they were made."""
    return (
        select(*COLUMNS)
        .where(p.generation == active_generation(NAME), p.payout_id.in_(payout_ids), p.kind == ADJUSTMENT)
        .order_by(p.payout_id, p.seq)
    )


def entries(entry_ids: Sequence[str]) -> Select[Any]:
    """These entries, and the adjustments of those that are payouts, by rider and in the order of making."""
    return (
        select(*COLUMNS)
        .where(p.generation == active_generation(NAME), or_(p.entry_id.in_(entry_ids), p.payout_id.in_(entry_ids)))
        .order_by(p.rider_id, p.seq)
    )


def made_at(rider_id: str, positions: Sequence[int]) -> Select[Any]:
    """The entries that these events of a rider's stream made, in the order of making."""
    return (
        select(*COLUMNS)
        .where(
            p.generation == active_generation(NAME),
            p.shard == shard_of(rider_id),
            p.position.in_(positions),
            p.rider_id == rider_id,
        )
        .order_by(p.seq)
    )


def statement(rider_id: str, period: str, limit: int) -> Select[Any]:
    """The entries of a rider's period, in the order in which they were made."""
    return (
        select(*COLUMNS)
        .where(p.generation == active_generation(NAME), p.rider_id == rider_id, p.period == period)
        .order_by(p.seq)
        .limit(limit)
    )


def progress(rider_id: str) -> Select[Any]:
    """One row (generation, position, state): how far the rider's shard is, and the rider's state, null if unknown.

    No row before the first event of the shard is folded.
    """
    shard, s, t = shard_of(rider_id), _shards.c, _states.c
    fence = newest_fence(s.projection, s.generation, s.shard)
    is_of_rider = (
        (t.projection == s.projection) & (t.generation == s.generation) & (t.shard == s.shard) & (t.key == rider_id)
    )
    return (
        select(s.generation, fence.c.position, t.state)
        .select_from(_shards.join(fence, true()).outerjoin(_states, is_of_rider))
        .where(s.projection == NAME, s.generation == active_generation(NAME), s.shard == shard)
    )
