"""Where the riders were at a past instant, by the index of pings. Blocks; safe to share between threads."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, TextClause, text

from domain.events.contracts import UndecodableError
from domain.features.event_time import MAX_AHEAD_MS, effective_time_ms
from domain.identifiers import aggregate_id
from domain.timestamps import utc_datetime
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.replay.ping_layout import (
    HEADER_BYTES,
    LEAST_BYTES,
    MAY_BE_RECEIVED_BY,
    has_layout,
    start_of_time,
    window_of,
)
from infrastructure.timestamps import storable_ms
from projections.core.fold import Decode
from projections.replay.as_of import AsOf, Horizon
from read_models.analytics import queries
from read_models.generations import BY_INDEX

log = logging.getLogger("ridelog.replay")

MAX_PLACES: Final = 2_000
MAX_SILENCE: Final = timedelta(hours=1)
"""A rider without a ping in the hour of the instant or in the one before is not on the map."""
MAX_QUERY_RIDERS: Final = 250
"""Bounds the pings in memory: where clocks are ahead, a query reads the pings of five minutes of these riders."""

_IN_ORDER = text("SET LOCAL enable_sort = off; SET LOCAL jit = off")
"""Run before the reads of pings. Where few pings are estimated to precede an instant, as soon after a log's begin, the
planner would read all of a rider's and sort them: 300 ms for 1,000 riders. Compiling costs as much as a read."""

_PINGS = (
    "SELECT position, (extract(epoch FROM event_time) * 1000)::bigint AS sent_ms, payload FROM events"
    " WHERE aggregate_id = u.id AND event_type = 'GpsPing' AND position <= :position AND event_time"
)
_AT = "timestamptz 'epoch' + %s * interval '1 millisecond'"
# The index (aggregate_id, event_time, event_id) has the time as sent. Read backwards from the instant: a search for the
# newest position of each rider would pass every later ping.
_LATEST_SENT_BY = text(
    "SELECT u.ord, e.* FROM unnest(CAST(:aggregates AS uuid[])) WITH ORDINALITY AS u(id, ord) CROSS JOIN LATERAL"  # noqa: S608
    f" ({_PINGS} <= {_AT % ':by'} ORDER BY event_time DESC, event_id DESC LIMIT 1) e"
)
# A ping that was sent to be later may be effective by then: of a clock that is ahead, if it was received by then. Where
# the reception cannot be read from the bytes, the ping is read too.
_RECEIVED_BY = text(
    "SELECT u.ord, e.* FROM unnest(CAST(:aggregates AS uuid[]), CAST(:starts AS int[]))"  # noqa: S608
    f" WITH ORDINALITY AS u(id, start, ord) CROSS JOIN LATERAL ({_PINGS} > {_AT % ':by'}"
    f" AND event_time <= {_AT % ':sent_by'} OFFSET 0) e WHERE CASE"
    f" WHEN substr(payload, 1, {HEADER_BYTES}) = ANY(CAST(:headers AS bytea[]))"
    f" AND octet_length(payload) >= start + {LEAST_BYTES}"
    f" THEN {MAY_BE_RECEIVED_BY} ELSE true END"
)
_SENT_SINCE = text(
    "SELECT u.ord, e.* FROM unnest(CAST(:aggregates AS uuid[]), CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[]))"  # noqa: S608
    " WITH ORDINALITY AS u(id, first, last, ord) CROSS JOIN LATERAL"
    f" ({_PINGS} >= {_AT % 'u.first'} AND event_time <= {_AT % 'u.last'}) e"
)


class RiderThen(NamedTuple):
    """A rider's latest ping by effective time, which ``event_timestamp_ms`` is, among the events that count."""

    rider_id: str
    latitude: float
    longitude: float
    event_timestamp_ms: int
    position: int


class _Ping(NamedTuple):
    """Ordered as the fold ``latest_location`` orders: by effective time, then by how far the clock was ahead."""

    effective_ms: int
    ahead_ms: int
    event_id: str
    position: int
    latitude: float
    longitude: float


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
        found: list[RiderThen] = []
        with unavailable_as_port_error(), self._engine.connect() as connection:
            horizon = self._archive.horizon_on(connection, as_of)
            until = utc_datetime(horizon.at_ms)
            connection.execute(BY_INDEX)
            names = connection.execute(queries.riders_of_hours(until - MAX_SILENCE, until, MAX_PLACES + 1)).scalars()
            riders = list(names)
            connection.execute(_IN_ORDER)
            for first in range(0, min(len(riders), MAX_PLACES), MAX_QUERY_RIDERS):
                part = riders[first : min(first + MAX_QUERY_RIDERS, MAX_PLACES)]
                found += self._latest(connection, part, horizon)
        return PlacesThen(horizon, found, len(riders) > MAX_PLACES)

    def _latest(self, connection: Connection, riders: Sequence[str], horizon: Horizon) -> list[RiderThen]:
        search = _Search(self._decode, riders, _by_ms(horizon))
        aggregates = [str(aggregate_id("Rider", rider)) for rider in riders]
        times = {"by": storable_ms(search.by_ms), "position": horizon.position}
        search.add(_rows(connection, _LATEST_SENT_BY, {**times, "aggregates": aggregates}))
        if horizon.happened_by_ms is not None:
            # Without an instant of happening the position decides alone: no ping was sent to be later than that.
            layout = {"starts": [start_of_time(rider) for rider in riders], "headers": search.headers()}
            sent_by = {"sent_by": storable_ms(search.by_ms + MAX_AHEAD_MS), "by_window": window_of(search.by_ms)}
            search.add(_rows(connection, _RECEIVED_BY, {**times, **sent_by, **layout, "aggregates": aggregates}))
        behind = search.behind()
        bounds = {
            "aggregates": [aggregates[number - 1] for number in behind],
            "firsts": [storable_ms(search.latest[number].effective_ms) for number in behind],
            "lasts": [storable_ms(search.earliest_sent_ms[number]) for number in behind],
        }
        rows = _rows(connection, _SENT_SINCE, {**bounds, "position": horizon.position})
        search.add((behind[index - 1], *rest) for index, *rest in rows)
        return search.found()


class _Search:
    """The latest ping of each rider among those that were read. A rider's number is its place in ``riders``, from 1."""

    def __init__(self, decode: Decode, riders: Sequence[str], by_ms: int) -> None:
        self.by_ms = by_ms
        self.latest: dict[int, _Ping] = {}
        self.earliest_sent_ms: dict[int, int] = {}
        self._decode = decode
        self._riders = riders
        self._headers: dict[bytes, bool] = {}

    def add(self, rows: Iterable[Any]) -> None:
        """Take over rows of number, position, time as sent and payload."""
        for number, position, sent_ms, payload in rows:
            self.earliest_sent_ms[number] = min(sent_ms, self.earliest_sent_ms.get(number, sent_ms))
            try:
                record = self._decode(bytes(payload))
            except UndecodableError as error:
                # Invariant 10: one bad event takes no other rider off the map.
                log.warning("the ping at position %d is not shown: %s", position, error)
                continue
            self._check_layout(number, bytes(payload), record)
            # Invariant 6: a ping of a clock that is ahead counts as of its reception.
            effective_ms = effective_time_ms(record)
            ahead_ms = record["event_timestamp_ms"] - effective_ms
            event_id = record["event_id"].replace("-", "")
            ping = _Ping(effective_ms, ahead_ms, event_id, position, record["latitude"], record["longitude"])
            if effective_ms <= self.by_ms and (number not in self.latest or ping > self.latest[number]):
                self.latest[number] = ping

    def _check_layout(self, number: int, payload: bytes, record: Mapping[str, Any]) -> None:
        header = payload[:HEADER_BYTES]
        if self._headers.get(header, True):
            received_ms = record.get("received_timestamp_ms") or 0
            self._headers[header] = has_layout(payload, self._riders[number - 1], received_ms)

    def headers(self) -> list[bytes]:
        """The headers of payloads whose reception is where ``ping_layout`` says, in each that was read."""
        return [header for header, is_known in self._headers.items() if is_known]

    def behind(self) -> list[int]:
        """The riders who may have a later ping that was not read yet.

        No ping is effective after the time as sent. So it was sent to be as late as the latest is effective: none, of a
        phone whose clock is right.
        """
        return [number for number, ping in self.latest.items() if ping.effective_ms < self.earliest_sent_ms[number]]

    def found(self) -> list[RiderThen]:
        return [
            RiderThen(self._riders[number - 1], ping.latitude, ping.longitude, ping.effective_ms, ping.position)
            for number, ping in sorted(self.latest.items())
        ]


def _by_ms(horizon: Horizon) -> int:
    """The latest instant at which a ping may have happened, or may say that it did."""
    return horizon.at_ms + MAX_AHEAD_MS if horizon.happened_by_ms is None else horizon.happened_by_ms


def _rows(connection: Connection, query: TextClause, values: dict[str, Any]) -> Iterable[Any]:
    return connection.execute(query, values) if values["aggregates"] else ()
