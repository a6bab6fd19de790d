"""Merges the city from the event store alone: traffic and orders of all events within a horizon."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from domain.identifiers import SHARDS
from projections.calibration import CALIBRATION
from projections.core.fold import Decode
from projections.core.projection import Projection
from projections.digest.digest import answer_digest
from projections.orders import ORDERS
from projections.replay.archive import Archive
from projections.replay.as_of import Horizon
from projections.replay.key_replay import TooLong
from projections.replay.shard_replay import replay_shard
from projections.replay.source import ReplaySource
from projections.traffic import TRAFFIC
from read_models.city.content import (
    CALIBRATION_PERMANENT,
    ORDERS_PERMANENT,
    TRAFFIC_PERMANENT,
    CityContent,
    CityParts,
    CityTables,
    TableVector,
    encode,
    hours_of,
    merge,
    tables_of,
)

PERMANENT_SLOTS: dict[str, Collection[int]] = {
    TRAFFIC.name: TRAFFIC_PERMANENT,
    ORDERS.name: ORDERS_PERMANENT,
    CALIBRATION.name: CALIBRATION_PERMANENT,
}
"""The slots of each projection's partial tables that are summed over all shards (``MergedPartials``)."""
CITY_PROJECTIONS: tuple[Projection[Any], ...] = (TRAFFIC, ORDERS, CALIBRATION)
"""What a city is merged from, in the order of ``CityParts``."""
NAME = "city"
NO_GENERATION = 0
"""The tables of a replay belong to no generation; the numbers of generations start at 1."""


class CitySources(NamedTuple):
    """The projections that a city is merged from, and the log that they are replayed from."""

    traffic: ReplaySource[Any]
    orders: ReplaySource[Any]
    calibration: ReplaySource[Any]


def city_code_digest() -> str:
    """32 hex digits over all code that merges a snapshot from partial tables. Raises UntraceableDefinition."""
    return answer_digest(NAME, merge, encode)


def city_sources(archive: Archive, decode: Decode) -> CitySources:
    """The sources of this code's folds."""
    return CitySources(*(ReplaySource(projection, archive, decode) for projection in CITY_PROJECTIONS))


def city_at(
    sources: CitySources,
    horizon: Horizon,
    max_events: int | None = None,
    on_chunk: Callable[[int], None] = lambda events: None,
) -> CityContent:
    """The merge of all events within ``horizon``, as of its instant. ``on_chunk`` gets the event count of each chunk.

    Raises TooLong before anything is read if the log up to the horizon has more than ``max_events`` events (None: no
    limit); Unresolvable if the beginning of the log was detached; PortUnavailable; AmountTooLarge.
    """
    if max_events is not None and horizon.position > max_events:
        raise TooLong(
            f"the city at position {horizon.position:,} is the merge of all events up to there, and at most "
            f"{max_events:,} may be folded"
        )
    parts = CityParts(*(_tables(source, horizon, on_chunk) for source in sources))
    return merge(str(horizon.log_id), horizon.at_ms, parts, hours_of(parts))


def _tables(source: ReplaySource[Any], horizon: Horizon, on_chunk: Callable[[int], None]) -> CityTables:
    shards = [replay_shard(source, shard, horizon, on_chunk=on_chunk) for shard in range(SHARDS)]
    vector = TableVector(NO_GENERATION, tuple(shard.seq for shard in shards))
    return tables_of(vector, [shard.partials for shard in shards], PERMANENT_SLOTS[source.projection.name])
