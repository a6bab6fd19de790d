"""Walks real trips in the order of their pings, and yields the ETA's features at each, with what was known then.

A trip is an order that is placed, assigned and picked up at its first occupied ping; its drop-off is the customer. The
events are folded by the folds of this repository. The traffic that a taxi sees is that of all other taxis so far.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from benchmarks.eta_city import OtherTaxis, TrafficTotals
from domain.features import orders
from domain.features.eta.features import EtaReading, eta_reading
from domain.features.eta.rider_view import OpenLegView
from domain.features.keyed_event import KeyedEvent
from domain.features.pace import EMPTY_PACE, PaceState, step
from domain.features.partials import PartialTable, apply_changes, collect
from domain.features.speed import window
from domain.features.speed.window import WINDOW_PINGS, WindowPing
from domain.features.traffic.changes import changes
from domain.features.traffic.fold import EMPTY, TrafficState, fold
from domain.features.traffic.steps import BUCKET_MS
from domain.riders.leg import TO_CUSTOMER, Leg

PINGS = "sf_taxi_pings.csv.gz"
TRIPS = "sf_taxi_trips.csv.gz"
TIME_ZONE = "America/Los_Angeles"


class Trip(NamedTuple):
    """One occupied run. Places are (latitude, longitude)."""

    trip_id: str
    rider_id: str
    pickup_ms: int
    pickup: tuple[float, float]
    dropoff_ms: int
    dropoff: tuple[float, float]
    plausible: bool


class TaxiPing(NamedTuple):
    """``trip_id`` is empty unless the ping is an occupied one of a complete trip."""

    t_ms: int
    rider_id: str
    latitude: float
    longitude: float
    trip_id: str


class Sample(NamedTuple):
    """What was known at one ping of a plausible trip, and the seconds that were truly left."""

    trip: Trip
    t_ms: int
    reading: EtaReading
    true_s: float


def read_trips(folder: Path) -> dict[str, Trip]:
    with gzip.open(folder / TRIPS, "rt", newline="") as file:
        return {row["trip_id"]: _trip(row) for row in csv.DictReader(file)}


def _trip(row: dict[str, str]) -> Trip:
    return Trip(
        row["trip_id"],
        row["rider_id"],
        int(row["pickup_timestamp_ms"]),
        (float(row["pickup_latitude"]), float(row["pickup_longitude"])),
        int(row["dropoff_timestamp_ms"]),
        (float(row["dropoff_latitude"]), float(row["dropoff_longitude"])),
        row["plausible"] == "1",
    )


def read_pings(folder: Path) -> list[TaxiPing]:
    """All pings, in the order in which a log would have them."""
    with gzip.open(folder / PINGS, "rt", newline="") as file:
        pings = [
            TaxiPing(
                int(row["event_timestamp_ms"]),
                row["rider_id"],
                float(row["latitude"]),
                float(row["longitude"]),
                row["trip_id"],
            )
            for row in csv.DictReader(file)
        ]
    return sorted(pings)


class _TaxiState(NamedTuple):
    """A rider's read model, as ``eta.rider_view`` wants it, and the traffic state of the same rider."""

    window: tuple[WindowPing, ...] = ()
    pace: PaceState = EMPTY_PACE
    legs: tuple[OpenLegView, ...] = ()
    traffic: TrafficState = EMPTY


def walk(pings: list[TaxiPing], trips: Mapping[str, Trip]) -> Iterator[tuple[int, Sample | None]]:
    """The number of pings so far, and the sample at the last of them, None unless it is of a plausible trip."""
    of_all, own = TrafficTotals(), defaultdict[str, TrafficTotals](TrafficTotals)
    taxis: dict[str, _TaxiState] = {}
    open_orders: dict[str, orders.OrderState] = {}
    table: PartialTable = {}
    bucket = 0
    for number, ping in enumerate(pings, start=1):
        if ping.t_ms // BUCKET_MS != bucket:
            bucket = ping.t_ms // BUCKET_MS
            for totals in (of_all, *own.values()):
                totals.advance(bucket)
        data = _record(ping, number)
        taxi = taxis.get(ping.rider_id, _TaxiState())
        traffic = fold(taxi.traffic, KeyedEvent(ping.rider_id, number, number, "GpsPing", data))
        for change in changes(taxi.traffic, traffic):
            of_all.add(change)
            own[ping.rider_id].add(change)
        taxi = _TaxiState(*_with_ping(taxi.window, taxi.pace, data), taxi.legs, traffic)
        trip = trips.get(ping.trip_id)
        for leg in taxi.legs:
            ended = trips[leg.order_id]
            if trip is None or trip.trip_id != ended.trip_id:
                _advance(open_orders, table, ended, "DeliveryCompleted", ping.t_ms)
                del open_orders[ended.trip_id]
                taxi = taxi._replace(legs=())
        if trip is not None and not taxi.legs:
            for event_type in ("DeliveryPlaced", "DeliveryAssigned", "DeliveryPickedUp"):
                _advance(open_orders, table, trip, event_type, ping.t_ms)
            taxi = taxi._replace(legs=(Leg(trip.trip_id, TO_CUSTOMER, *trip.dropoff),))
        taxis[ping.rider_id] = taxi
        if trip is None or not trip.plausible:
            yield number, None
            continue
        city = OtherTaxis(of_all, own[ping.rider_id], table, ping.t_ms)
        reading = eta_reading(open_orders[trip.trip_id], taxi, city, ping.t_ms, order_id=trip.trip_id)
        yield number, Sample(trip, ping.t_ms, reading, (trip.dropoff_ms - ping.t_ms) / 1_000.0)


def _with_ping(
    pings: tuple[WindowPing, ...], pace: PaceState, data: Mapping[str, Any]
) -> tuple[tuple[WindowPing, ...], PaceState]:
    """The window with one more ping, and the pace with the ping that left it."""
    after = window.insert(pings, window.window_ping(data))
    if after is pings or len(pings) < WINDOW_PINGS:
        return after, pace
    return after, step(pace, pings[0].t_ms, pings[0].latitude, pings[0].longitude)


def _advance(
    open_orders: dict[str, orders.OrderState], table: PartialTable, trip: Trip, event_type: str, at_ms: int
) -> None:
    """Fold one event of the order, and add what it changes to the partial table of orders."""
    before = open_orders.get(trip.trip_id, orders.EMPTY)
    data = {
        "order_id": trip.trip_id,
        "event_timestamp_ms": at_ms,
        "rider_id": trip.rider_id,
        "restaurant_latitude": trip.pickup[0],
        "restaurant_longitude": trip.pickup[1],
        "customer_latitude": trip.dropoff[0],
        "customer_longitude": trip.dropoff[1],
        "time_zone": TIME_ZONE,
        "preparation_seconds": None,
        "promised_seconds": None,
        "items": None,
    }
    version = before.version + 1
    after = orders.fold(before, KeyedEvent(trip.trip_id, version, version, event_type, data))
    pending: PartialTable = {}
    collect(pending, orders.partials(before, after))
    apply_changes(table, pending)
    open_orders[trip.trip_id] = after


def _record(ping: TaxiPing, number: int) -> dict[str, Any]:
    return {
        "rider_id": ping.rider_id,
        "latitude": ping.latitude,
        "longitude": ping.longitude,
        "event_timestamp_ms": ping.t_ms,
        "accuracy_meters": None,
        "speed_mps": None,
        "event_id": str(UUID(int=number)),
        "received_timestamp_ms": ping.t_ms,
    }
