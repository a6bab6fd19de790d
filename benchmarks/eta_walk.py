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
from domain.features.keyed_event import KeyedEvent
from domain.features.legs import TO_CUSTOMER
from domain.features.partials import PartialTable, apply_changes, collect
from domain.features.speed import window as speed_window
from domain.features.speed.window import SpeedState
from domain.features.traffic.changes import changes
from domain.features.traffic.fold import EMPTY, TrafficState, fold
from domain.features.traffic.steps import BUCKET_MS

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
    """A rider's read model, and the traffic state of the same rider. ``trip_id`` is that of the open leg."""

    rider: SpeedState = speed_window.EMPTY
    traffic: TrafficState = EMPTY
    trip_id: str = ""


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
        event = KeyedEvent(ping.rider_id, number, number, "GpsPing", _record(ping, number))
        before = taxis.get(ping.rider_id, _TaxiState())
        traffic = fold(before.traffic, event)
        for change in changes(before.traffic, traffic):
            of_all.add(change)
            own[ping.rider_id].add(change)
        rider, trip_id = speed_window.fold(before.rider, event), before.trip_id
        trip = trips.get(ping.trip_id)
        if trip_id and trip_id != ping.trip_id:
            _advance(open_orders, table, trips[trip_id], "DeliveryCompleted", ping.t_ms)
            del open_orders[trip_id]
            rider, trip_id = speed_window.fold(rider, _leg(trips[trip_id], "LegEnded", number, ping.t_ms)), ""
        if trip is not None and not trip_id:
            for event_type in ("DeliveryPlaced", "DeliveryAssigned", "DeliveryPickedUp"):
                _advance(open_orders, table, trip, event_type, ping.t_ms)
            rider, trip_id = speed_window.fold(rider, _leg(trip, "LegStarted", number, ping.t_ms)), trip.trip_id
        taxis[ping.rider_id] = _TaxiState(rider, traffic, trip_id)
        if trip is None or not trip.plausible:
            yield number, None
            continue
        city = OtherTaxis(of_all, own[ping.rider_id], table, ping.t_ms)
        reading = eta_reading(open_orders[trip_id], rider, city, ping.t_ms, order_id=trip_id)
        yield number, Sample(trip, ping.t_ms, reading, (trip.dropoff_ms - ping.t_ms) / 1_000.0)


def _leg(trip: Trip, event_type: str, number: int, at_ms: int) -> KeyedEvent:
    """The start or the end of the leg to the customer, on the rider's stream."""
    data = {
        "order_id": trip.trip_id,
        "leg": TO_CUSTOMER,
        "target_latitude": trip.dropoff[0],
        "target_longitude": trip.dropoff[1],
        "event_timestamp_ms": at_ms,
    }
    return KeyedEvent(trip.rider_id, number, number, event_type, data)


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
        "city": "",
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
