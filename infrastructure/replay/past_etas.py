"""Reads from the log what an ETA of the past needs: the order, its rider, and the city at one position."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from sqlalchemy import Engine

from domain.features.orders import OPEN_STATUSES, OrderState
from domain.features.speed.window import SpeedState
from domain.identifiers import SHARDS
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.postgres.snapshots import PostgresStateSnapshots
from infrastructure.replay.past_reads import MAX_CONCURRENT_REPLAYS
from projections.core.fold import Decode
from projections.core.projection import Projection
from projections.orders import ORDERS
from projections.replay.as_of import AsOf, Horizon
from projections.replay.key_replay import KeyReplay, TooLong
from projections.replay.shard_replay import replay_shard
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from projections.traffic import TRAFFIC
from read_models.city.content import (
    ORDERS_PERMANENT,
    TRAFFIC_PERMANENT,
    CityTables,
    TableVector,
    digest_of,
    encode,
    hours_of,
    merge,
    tables_of,
)
from read_models.city.snapshot import CitySnapshot

NO_GENERATION = 0
"""The tables of a replay belong to no generation; the numbers of generations start at 1."""
NO_SNAPSHOT = 0
PERMANENT_SLOTS = {TRAFFIC.name: TRAFFIC_PERMANENT, ORDERS.name: ORDERS_PERMANENT}


class PastEta(NamedTuple):
    """What was known within ``horizon``. ``order`` None: there was no such order then.

    ``rider`` and ``city`` are None for an order that is over: it has no ETA, and the city is the costly part.
    """

    horizon: Horizon
    order: OrderState | None
    rider: SpeedState | None = None
    city: CitySnapshot | None = None


class LogTooLong(TooLong):
    """The city at that position is the merge of more events than one request may fold."""


class PastEtas:
    """Replays an order, its rider and the whole city. Blocks: call it in a thread.

    ``max_events``: events that one answer may fold. The city is the merge of all events, so the log may be no longer.
    """

    def __init__(self, engine: Engine, decode: Decode, max_events: int) -> None:
        self._archive = PostgresArchive(engine)
        self._decode = decode
        self._max_events = max_events
        self._orders = KeyReplay(self._source(ORDERS), max_events=max_events)
        self._riders = KeyReplay(self._source(SPEED), PostgresStateSnapshots(engine, SPEED), max_events=max_events)
        self._replays = threading.Semaphore(MAX_CONCURRENT_REPLAYS)

    def at(self, order_id: str, as_of: AsOf) -> PastEta:
        """Raises Unresolvable, TooLong, PortUnavailable."""
        horizon = self._archive.horizon(as_of)
        found = self._orders.at(order_id, horizon)
        if found is None or found.state is None:
            return PastEta(horizon, None)
        order = found.state
        if order.status not in OPEN_STATUSES:
            return PastEta(horizon, order if order.status else None)
        rider = None if order.rider_id is None else self._riders.at(order.rider_id, horizon)
        return PastEta(horizon, order, None if rider is None else rider.state, self._city(horizon))

    def _city(self, horizon: Horizon) -> CitySnapshot:
        """The merge of all events within ``horizon``, as of its instant. Raises LogTooLong."""
        if horizon.position > self._max_events:
            raise LogTooLong(
                f"the city at position {horizon.position:,} is the merge of all events up to there, and "
                f"{self._max_events:,} may be folded"
            )
        with self._replays:
            traffic, orders = self._tables(TRAFFIC, horizon), self._tables(ORDERS, horizon)
        content = merge(str(horizon.log_id), horizon.at_ms, traffic, orders, hours_of(traffic))
        return CitySnapshot(NO_SNAPSHOT, digest_of(encode(content)), content)

    def _tables(self, projection: Projection[Any], horizon: Horizon) -> CityTables:
        shards = [replay_shard(self._source(projection), shard, horizon) for shard in range(SHARDS)]
        vector = TableVector(NO_GENERATION, tuple(shard.seq for shard in shards))
        return tables_of(vector, [shard.partials for shard in shards], PERMANENT_SLOTS[projection.name])

    def _source(self, projection: Projection[Any]) -> ReplaySource[Any]:
        return ReplaySource(projection, self._archive, self._decode)
