"""The queries on the table of deliveries, each one statement that reads the active generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Select, Text, cast, column, exists, func, select, table, true, tuple_
from sqlalchemy.dialects.postgresql import JSONB

from domain.identifiers import shard_of
from read_models.deliveries.tables import NAME, deliveries
from read_models.generations import active_generation, newest_fence

STREAM = "Delivery"

d = deliveries.c
_head = table("log_head", column("log_id"))
_numbers = table("log_numbers", column("number"), column("seqs", JSONB))
_parked = table("projection_parked", column("projection"), column("generation"), column("shard"), column("key"))
_COLUMNS = tuple(c for c in d if c.name not in {"generation", "shard"})


class Filters(NamedTuple):
    """Which orders a list has. ``since_ms`` and ``until_ms`` are of placing, ``until_ms`` excluded; None = any."""

    status: str | None = None
    rider_id: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


def one(order_id: str) -> Select[Any]:
    """One row: the order's columns, null if it has no row, and ``is_current``.

    ``is_current``: the row has every event of the order that the log has. The fence of the order's shard is at the head
    of the log, in one snapshot with the row, and the order is not parked. A row that is not current may lack the answer
    of a command that was just given.
    """
    generation, shard = active_generation(NAME), shard_of(order_id)
    n, p = _numbers.c, _parked.c
    newest = select(n.seqs).order_by(n.number.desc()).limit(1).lateral("newest")
    fence = newest_fence(NAME, generation, shard)
    head_seq = func.coalesce(cast(newest.c.seqs[(STREAM, str(shard))].astext, BigInteger), 0)
    is_parked = exists().where(p.projection == NAME, p.generation == generation, p.shard == shard, p.key == order_id)
    is_folded = (fence.c.seq == head_seq) & (fence.c.log_id == cast(_head.c.log_id, Text))
    is_current = func.coalesce(is_folded, head_seq == 0) & ~is_parked
    return select(is_current.label("is_current"), *_COLUMNS).select_from(
        _head.join(newest, true())
        .outerjoin(fence, true())
        .outerjoin(deliveries, (d.generation == generation) & (d.order_id == order_id))
    )


def some(order_ids: Sequence[str]) -> Select[Any]:
    """The rows of these orders, as far as they are folded."""
    return select(*_COLUMNS).where(d.generation == active_generation(NAME), d.order_id.in_(order_ids))


def newest(status: str, limit: int) -> Select[Any]:
    """Orders in this status by (placed_at_ms, order_id), the latest first."""
    return (
        select(*_COLUMNS)
        .where(d.generation == active_generation(NAME), d.status == status)
        .order_by(d.placed_at_ms.desc(), d.order_id.desc())
        .limit(limit)
    )


def placed_between(since_ms: int, until_ms: int, limit: int) -> Select[Any]:
    """The ids of orders that were placed at ``since_ms`` or later, before ``until_ms``, the latest first."""
    return (
        select(d.order_id)
        .where(d.generation == active_generation(NAME), d.placed_at_ms >= since_ms, d.placed_at_ms < until_ms)
        .order_by(d.placed_at_ms.desc(), d.order_id.desc())
        .limit(limit)
    )


def page(filters: Filters, after: tuple[int, str] | None, limit: int) -> Select[Any]:
    """Orders by (placed_at_ms, order_id), from the one after ``after``."""
    query = (
        select(*_COLUMNS)
        .where(d.generation == active_generation(NAME))
        .order_by(d.placed_at_ms, d.order_id)
        .limit(limit)
    )
    if filters.status is not None:
        query = query.where(d.status == filters.status)
    if filters.rider_id is not None:
        query = query.where(d.rider_id == filters.rider_id)
    if filters.since_ms is not None:
        query = query.where(d.placed_at_ms >= filters.since_ms)
    if filters.until_ms is not None:
        query = query.where(d.placed_at_ms < filters.until_ms)
    return query if after is None else query.where(tuple_(d.placed_at_ms, d.order_id) > tuple_(*after))
