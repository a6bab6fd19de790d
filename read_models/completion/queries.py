"""The queries on the completion tables, each one statement that reads the active generation."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Select, cast, func, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on

from domain.features.completion.result import place_id
from domain.features.completion.track import DEGREES_E7
from read_models.completion.rows import LEG_COLUMNS, PLACE_SUMS
from read_models.completion.tables import NAME, completion_legs, completion_places
from read_models.generations import active_generation

legs, places = completion_legs.c, completion_places.c


def legs_of(order_id: str) -> Select[Any]:
    """The legs of one order, each as its rider completed it: of an order that was given to another, the later one."""
    latest = [legs.leg, legs.started_at.desc(), legs.position.desc()]
    return (
        select(legs.leg, legs.rider_id, *(legs[name] for name in LEG_COLUMNS))
        .ext(distinct_on(legs.leg))
        .where(legs.generation == active_generation(NAME), legs.order_id == order_id)
        .order_by(*latest)
    )


def stops_by_place(leg: str | None, min_stops: int, after: tuple[str, str] | None, limit: int) -> Select[Any]:
    """Sums of each place and leg over its partials by shard, by place; of those with at least so many stops."""
    sums = {name: func.sum(places[name]) for name in PLACE_SUMS}
    query = (
        select(places.place, places.leg, *(cast(value, BigInteger).label(name) for name, value in sums.items()))
        .where(places.generation == active_generation(NAME))
        .group_by(places.place, places.leg)
        .order_by(places.place, places.leg)
        .limit(limit)
    )
    if leg is not None:
        query = query.where(places.leg == leg)
    if min_stops > 1:
        query = query.having(sums["stops"] >= min_stops)
    return query if after is None else query.where(tuple_(places.place, places.leg) > tuple_(*after))


def stops_at(place: str, leg: str) -> Select[Any]:
    """The sums of one place and leg, each null if no stop counted there: what a case is read beside."""
    sums: list[Any] = [cast(func.sum(places[name]), BigInteger).label(name) for name in PLACE_SUMS]
    here = (places.generation == active_generation(NAME), places.place == place, places.leg == leg)
    query: Select[Any] = select(*sums).where(*here)
    return query


def place_of(latitude: float, longitude: float) -> str:
    """The place of a target in WGS84 degrees, as the fold names it."""
    return place_id(round(latitude * DEGREES_E7), round(longitude * DEGREES_E7))
