"""The real trips as a log: backfilled as deliveries among pings, and walked once by position.

A trip is placed, assigned and picked up at its first occupied ping, and completed at the taxi's first other ping. The
same folds as in ``eta_walk`` give the same samples: this way they come from events that were recorded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Engine, text

from benchmarks.eta_folded import FoldedLog
from benchmarks.eta_walk import TIME_ZONE, Sample, TaxiPing, Trip
from domain.deliveries.commands import Assign, Complete, PickUp, PlaceOrder
from domain.deliveries.history_batch import HistoryItem
from domain.deliveries.values import Coordinates
from domain.events.contracts import Codec
from domain.features.eta.features import eta_reading
from domain.gps_ping import parse_ping
from infrastructure.imports.backfill import open_history
from infrastructure.schema_registry.client import schema_ids
from infrastructure.settings.settings import Settings

BATCH_ITEMS = 10_000
_PAGE = text(
    "SELECT position, stream, aggregate_key, event_type, payload FROM events"
    " WHERE position > :after ORDER BY position LIMIT 10000"
)


class WalkedEvent(NamedTuple):
    """One event of the log, decoded."""

    stream: str
    key: str
    event_type: str
    data: Mapping[str, Any]


def history(pings: Iterable[TaxiPing], trips: Mapping[str, Trip]) -> Iterator[HistoryItem]:
    """Pings and commands in the order of reception; each is received when it happens."""
    carried: dict[str, str] = {}
    for ping in pings:
        yield parse_ping(
            {
                "rider_id": ping.rider_id,
                "latitude": ping.latitude,
                "longitude": ping.longitude,
                "event_timestamp_ms": ping.t_ms,
            },
            ping.t_ms,
        )
        before, trip = carried.get(ping.rider_id, ""), trips.get(ping.trip_id)
        if before and before != ping.trip_id:
            yield Complete(order_id=before, received_ms=ping.t_ms)
            before = carried[ping.rider_id] = ""
        if trip is not None and not before:
            yield PlaceOrder(
                order_id=trip.trip_id,
                received_ms=ping.t_ms,
                restaurant=Coordinates(*trip.pickup),
                customer=Coordinates(*trip.dropoff),
                time_zone=TIME_ZONE,
                currency="USD",
            )
            yield Assign(order_id=trip.trip_id, received_ms=ping.t_ms, rider_id=ping.rider_id)
            yield PickUp(order_id=trip.trip_id, received_ms=ping.t_ms)
            carried[ping.rider_id] = trip.trip_id


def walk_log(events: Iterable[WalkedEvent], trips: Mapping[str, Trip]) -> Iterator[tuple[int, Sample | None]]:
    """The number of pings so far, and the sample at the last of them, as ``eta_walk.walk`` yields it.

    A ping's sample is taken before the next ping, when the commands of that ping are folded.
    """
    log = FoldedLog(keeps_own_traffic=True)
    number, last = 0, ("", 0)
    for event in events:
        if event.event_type == "GpsPing":
            if number:
                yield number, _sample(log, *last, trips)
            number, last = number + 1, (event.key, event.data["event_timestamp_ms"])
            log.advance(last[1])
        log.add(*event)
    if number:
        yield number, _sample(log, *last, trips)


def _sample(log: FoldedLog, rider_id: str, t_ms: int, trips: Mapping[str, Trip]) -> Sample | None:
    rider = log.riders[rider_id]
    if not rider.legs:
        return None
    trip = trips[rider.legs[0].order_id]
    if not trip.plausible:
        return None
    city = log.city(t_ms, without=rider_id)
    reading = eta_reading(log.orders[trip.trip_id], rider, city, t_ms, order_id=trip.trip_id)
    return Sample(trip, t_ms, reading, (trip.dropoff_ms - t_ms) / 1_000.0)


def walk_backfilled(
    folder: Path, pings: Iterable[TaxiPing], trips: Mapping[str, Trip]
) -> Iterator[tuple[int, Sample | None]]:
    """Record the trips in an embedded Postgres in ``folder``, which must be empty, and walk its log once.

    Raises UserError, OrderBroken, PersistenceError; RuntimeError if the log rejects an item.
    """
    settings = Settings.load({"data_dir": folder})
    with open_history(settings) as opened:
        opened.refuse_unless_empty("name an empty folder")
        items, recorded = iter(history(pings, trips)), 0
        while batch := list(islice(items, BATCH_ITEMS)):
            rejected = [outcome.rejection for outcome in opened.joint.record(batch) if outcome.rejection is not None]
            if rejected:
                raise RuntimeError(f"the log rejects {len(rejected)} items: {rejected[0]}")
            recorded += len(batch)
            sys.stderr.write(f"recorded {recorded:,} pings and commands\n")
        yield from walk_log(read_events(opened.engine, Codec(schema_ids(settings, opened.engine))), trips)


def read_events(engine: Engine, codec: Codec) -> Iterator[WalkedEvent]:
    """All events by position."""
    after = 0
    with engine.connect() as connection:
        while rows := connection.execute(_PAGE, {"after": after}).all():
            for position, stream, key, event_type, payload in rows:
                after = position
                data = codec.decode(bytes(payload))
                assert data is not None, f"the event at position {position} cannot be decoded"
                yield WalkedEvent(stream, key, event_type, data)
