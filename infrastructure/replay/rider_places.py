"""Where the riders were at a past instant, by the index of pings. Blocks; safe to share between threads."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final, NamedTuple

from sqlalchemy import Engine, text

from domain.events.contracts import UndecodableError
from domain.features.event_time import MAX_AHEAD_MS
from domain.identifiers import aggregate_id
from domain.timestamps import utc_datetime
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.timestamps import storable_ms
from projections.core.fold import Decode
from projections.replay.as_of import AsOf, Horizon
from read_models.analytics import queries
from read_models.generations import BY_INDEX

log = logging.getLogger("ridelog.replay")

MAX_PLACES: Final = 2_000
MAX_SILENCE: Final = timedelta(hours=1)
"""A rider without a ping in the hour of the instant or in the one before is not on the map."""
MAX_FUTURE_MS: Final = 300_000
"""Ingest refuses a ping whose time is further ahead of its reception."""

# The index (aggregate_id, event_time, event_id), read backwards from the instant: a search for the newest position of
# each rider would pass every later ping.
_PLACES = text(
    "SELECT u.ord, e.position, (extract(epoch FROM e.event_time) * 1000)::bigint AS event_ms, e.payload"
    " FROM unnest(CAST(:aggregates AS uuid[])) WITH ORDINALITY AS u(id, ord) CROSS JOIN LATERAL"
    " (SELECT position, event_time, payload FROM events WHERE aggregate_id = u.id AND event_type = 'GpsPing'"
    "  AND event_time <= timestamptz 'epoch' + :sent_by * interval '1 millisecond' AND position <= :position"
    "  ORDER BY event_time DESC, event_id DESC LIMIT 1) e ORDER BY u.ord"
)


class RiderThen(NamedTuple):
    """A rider's latest ping by event time, among the events that count."""

    rider_id: str
    latitude: float
    longitude: float
    event_timestamp_ms: int
    position: int


class PlacesThen(NamedTuple):
    """The riders at ``horizon``; ``more``: there were more than MAX_PLACES."""

    horizon: Horizon
    riders: list[RiderThen]
    more: bool


class RiderPlaces:
    """Reads one fix a rider. The hours of analytics say who rode then, which a lag of that projection delays."""

    def __init__(self, engine: Engine, decode: Decode) -> None:
        self._engine = engine
        self._archive = PostgresArchive(engine)
        self._decode = decode

    def at(self, as_of: AsOf) -> PlacesThen:
        """Where each rider was. Raises Unresolvable, PortUnavailable."""
        horizon = self._archive.horizon(as_of)
        by_ms = horizon.happened_by_ms
        sent_by_ms = horizon.at_ms + MAX_FUTURE_MS if by_ms is None else by_ms + MAX_AHEAD_MS
        until = utc_datetime(horizon.at_ms)
        with unavailable_as_port_error(), self._engine.connect() as connection:
            connection.execute(BY_INDEX)
            names = connection.execute(queries.riders_of_hours(until - MAX_SILENCE, until, MAX_PLACES + 1)).scalars()
            riders = list(names)
            values = {
                "aggregates": [str(aggregate_id("Rider", rider)) for rider in riders[:MAX_PLACES]],
                "sent_by": storable_ms(sent_by_ms),
                "position": horizon.position,
            }
            rows = connection.execute(_PLACES, values).all()
        found: list[RiderThen] = []
        for ord_, position, event_ms, payload in rows:
            try:
                ping = self._decode(bytes(payload))
            except UndecodableError as error:
                # Invariant 10: one bad event takes no other rider off the map.
                log.warning("the ping at position %d is not shown: %s", position, error)
                continue
            found.append(RiderThen(riders[ord_ - 1], ping["latitude"], ping["longitude"], event_ms, position))
        return PlacesThen(horizon, found, len(riders) > MAX_PLACES)
