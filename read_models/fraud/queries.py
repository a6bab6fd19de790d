"""The queries on alerts of all projections that raise them, and on their reviews, by the active generations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, Table, exists, func, literal, select, tuple_, union_all

from domain.riders.review import Verdict
from read_models.fraud.tables import NAME, fraud_reviews
from read_models.generations import active_generation

OPEN: Final = "open"
STATUSES: Final = (OPEN, *(verdict.value for verdict in Verdict))
"""The status of an alert: the verdict of its latest review by position, else open."""

MAX_REVIEWS: Final = 100
"""Reviews of one alert that are shown, the latest (invariant 15)."""

_REVIEW_COLUMNS: Final = ("alert_id", "event_id", "verdict", "reviewer", "why", "at", "position")
_NO_CASES = "at least one projection raises alerts"

r = fraud_reviews.c


class CaseSource(NamedTuple):
    """A projection that raises alerts, and its table of cases (``read_models.fraud.tables.case_table``)."""

    projection: str
    table: Table


class AlertFilters(NamedTuple):
    """Which alerts a list has. ``since`` is of raising; None = any."""

    status: str | None = None
    rider_id: str | None = None
    since: datetime | None = None


def page(
    sources: Sequence[CaseSource], filters: AlertFilters, after: tuple[datetime, str] | None, limit: int
) -> Select[Any]:
    """Alerts with their files by (raised_at, alert_id), from the one after ``after``."""

    def of(source: CaseSource) -> Select[Any]:
        c = source.table.c
        query = _cases(source).order_by(c.raised_at, c.alert_id).limit(limit)
        if filters.rider_id is not None:
            query = query.where(c.rider_id == filters.rider_id)
        if filters.since is not None:
            query = query.where(c.raised_at >= filters.since)
        if filters.status is not None:
            query = query.where(_status(c.alert_id) == filters.status)
        return query if after is None else query.where(tuple_(c.raised_at, c.alert_id) > tuple_(*after))

    assert sources, _NO_CASES
    found = union_all(*(of(source) for source in sources)).subquery("alerts")
    return select(found).order_by(found.c.raised_at, found.c.alert_id).limit(limit)


def one(sources: Sequence[CaseSource], alert_id: str) -> Select[Any]:
    """The alert with its file; no row if there is none."""
    assert sources, _NO_CASES
    return select(
        union_all(*(_cases(source).where(source.table.c.alert_id == alert_id) for source in sources)).subquery("alerts")
    ).limit(1)


def of_rider_from(sources: Sequence[CaseSource], rider_id: str, position: int, limit: int) -> Select[Any]:
    """A rider's alerts whose file changed last at ``position`` or later, by that position: only they can cite it."""
    assert sources, _NO_CASES

    def of(source: CaseSource) -> Select[Any]:
        c = source.table.c
        query = _cases(source).where(c.rider_id == rider_id, c.position >= position)
        return query.order_by(c.position, c.alert_id).limit(limit)

    found = union_all(*(of(source) for source in sources)).subquery("alerts")
    return select(found).order_by(found.c.position, found.c.alert_id).limit(limit)


def reviews(alert_ids: Sequence[str]) -> Select[Any]:
    """The latest MAX_REVIEWS reviews of each alert, by alert and position."""
    latest = (
        select(
            *(r[name] for name in _REVIEW_COLUMNS),
            func.row_number().over(partition_by=r.alert_id, order_by=r.position.desc()).label("nth"),
        )
        .where(r.generation == active_generation(NAME), r.alert_id.in_(alert_ids))
        .subquery("latest")
    )
    columns = [latest.c[name] for name in _REVIEW_COLUMNS]
    return select(*columns).where(latest.c.nth <= MAX_REVIEWS).order_by(latest.c.alert_id, latest.c.position)


def labels(sources: Sequence[CaseSource]) -> Select[Any]:
    """Every review with its alert, by position of the review. An alert that no generation has any more is left out."""
    assert sources, _NO_CASES
    cases = union_all(*(_cases(source, with_file=False) for source in sources)).subquery("alerts")
    newer = fraud_reviews.alias("newer")
    n = newer.c
    is_newer = (n.generation == r.generation) & (n.alert_id == r.alert_id) & (n.position > r.position)
    a = cases.c
    return (
        select(r.alert_id, a.projection.label("kind"), r.rider_id, a.signals, a.score, a.fold_version, r.verdict)
        .add_columns((~exists().where(is_newer)).label("is_latest"), r.reviewer.label("by"), r.at, r.position)
        .select_from(fraud_reviews.join(cases, a.alert_id == r.alert_id))
        .where(r.generation == active_generation(NAME))
        .order_by(r.position)
    )


def stored_files(source: CaseSource, since: datetime) -> Select[Any]:
    """(rider_id, alert_id, position, file) of the active generation, by rider and alert.

    All alerts of every rider who has one that was raised at ``since`` or later.
    """
    c, recent = source.table.c, source.table.alias("recent").c
    generation = active_generation(source.projection)
    riders = select(recent.rider_id).where(recent.generation == generation, recent.raised_at >= since)
    return (
        select(c.rider_id, c.alert_id, c.position, c.file)
        .where(c.generation == generation, c.rider_id.in_(riders))
        .order_by(c.rider_id, c.alert_id)
    )


def _cases(source: CaseSource, *, with_file: bool = True) -> Select[Any]:
    columns = [c for c in source.table.c if c.name != "shard" and (with_file or c.name != "file")]
    status = _status(source.table.c.alert_id).label("status")
    return select(literal(source.projection).label("projection"), status, *columns).where(
        source.table.c.generation == active_generation(source.projection)
    )


def _status(alert_id: ColumnElement[str]) -> ColumnElement[str]:
    latest = (
        select(r.verdict)
        .where(r.generation == active_generation(NAME), r.alert_id == alert_id)
        .order_by(r.position.desc())
        .limit(1)
        .scalar_subquery()
    )
    return func.coalesce(latest, OPEN)
