"""Reads from the log what an ETA of the past needs: the order, its rider, and the city at one position."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from sqlalchemy import Engine

from domain.features.orders import OPEN_STATUSES, OrderState
from domain.features.speed.window import SpeedState
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.postgres.snapshots import PostgresStateSnapshots
from infrastructure.replay.past_reads import MAX_CONCURRENT_REPLAYS
from projections.core.fold import Decode
from projections.core.projection import Projection
from projections.orders import ORDERS
from projections.replay.as_of import AsOf, Horizon
from projections.replay.city import city_at, city_sources
from projections.replay.key_replay import KeyReplay, TooLong
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from read_models.city.content import digest_of, encode
from read_models.city.snapshot import CitySnapshot

NO_SNAPSHOT = 0
"""The city of a replay is no numbered snapshot; their numbers start at 1."""


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
        self._city_sources = city_sources(self._archive, decode)
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
        try:
            with self._replays:
                content = city_at(self._city_sources, horizon, self._max_events)
        except TooLong as error:
            raise LogTooLong(str(error)) from error
        return CitySnapshot(NO_SNAPSHOT, digest_of(encode(content)), content)

    def _source(self, projection: Projection[Any]) -> ReplaySource[Any]:
        return ReplaySource(projection, self._archive, self._decode)
