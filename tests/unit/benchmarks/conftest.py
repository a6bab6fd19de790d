"""A small town in the form of the real trips, whose speeds are known."""

from __future__ import annotations

import csv
import gzip
import math
import random
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.eta_walk import PINGS, TRIPS

METRES_A_DEGREE = 111_195.0797
MONDAY_MS = 1_211_200_000_000
TAXIS, TRIPS_EACH = 5, 24


class Ride(NamedTuple):
    """One straight trip of a taxi."""

    taxi: str
    start_ms: int
    from_m: tuple[float, float]
    to_m: tuple[float, float]
    speed_mps: float


def rides() -> list[Ride]:
    """Trips to the north at 10 m/s and to the south at 5 m/s, on four days."""
    chance = random.Random(7)
    found = []
    for taxi in range(TAXIS):
        t_ms = MONDAY_MS + taxi * 7_000
        for trip in range(TRIPS_EACH):
            length, north = chance.uniform(1_500, 6_000), trip % 2 == 0
            east = chance.uniform(-200, 200)
            start, end = ((east, 0.0), (east, length)) if north else ((east, length), (east, 0.0))
            found.append(Ride(f"taxi-{taxi}", t_ms, start, end, 10.0 if north else 5.0))
            t_ms += 10_500_000
    return found


def place(north_m: float, east_m: float) -> tuple[float, float]:
    return 37.75 + north_m / METRES_A_DEGREE, -122.42 + east_m / METRES_A_DEGREE / math.cos(math.radians(37.75))


def write(path: Path, rows: list[dict[str, object]]) -> None:
    with gzip.open(path, "wt", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("town")
    pings: list[dict[str, object]] = []
    trips: list[dict[str, object]] = []
    for number, ride in enumerate(rides()):
        metres = math.dist(ride.from_m, ride.to_m)
        end_ms = ride.start_ms + round(metres / ride.speed_mps * 1_000)
        for t_ms in [*range(ride.start_ms, end_ms, 30_000), end_ms]:
            share = (t_ms - ride.start_ms) / (end_ms - ride.start_ms)
            at = [a + (b - a) * share for a, b in zip(ride.from_m, ride.to_m, strict=True)]
            latitude, longitude = place(at[1], at[0])
            occupied = t_ms < end_ms
            pings.append(
                {
                    "rider_id": ride.taxi,
                    "event_timestamp_ms": t_ms,
                    "latitude": latitude,
                    "longitude": longitude,
                    "occupied": int(occupied),
                    "trip_id": f"trip-{number}" if occupied else "",
                }
            )
        (pickup_latitude, pickup_longitude), (latitude, longitude) = place(*ride.from_m[::-1]), place(*ride.to_m[::-1])
        trips.append(
            {
                "trip_id": f"trip-{number}",
                "rider_id": ride.taxi,
                "pickup_timestamp_ms": ride.start_ms,
                "pickup_latitude": pickup_latitude,
                "pickup_longitude": pickup_longitude,
                "dropoff_timestamp_ms": end_ms,
                "dropoff_latitude": latitude,
                "dropoff_longitude": longitude,
                "plausible": 1,
            }
        )
    write(folder / PINGS, pings)
    write(folder / TRIPS, trips)
    return folder
