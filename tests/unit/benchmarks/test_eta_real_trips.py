"""The benchmark of the ETA in a small town with known speeds: what it learns, and that it knows no future."""

from __future__ import annotations

import csv
import gzip
import json
import math
import random
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.eta_fit import CHOSEN, KNOTS_M, Choice, choose, fit
from benchmarks.eta_leave_out import WITHOUT
from benchmarks.eta_real_trips import collect, errors, left_out, lines, main, predicted, straight_line, table
from benchmarks.eta_walk import PINGS, TRIPS, Sample, read_pings, read_trips, walk
from domain.features.eta.baseline import Baseline
from domain.features.eta.packaged import packaged_baseline

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


@pytest.fixture(scope="module")
def samples(town: Path) -> list[Sample]:
    return collect(town)


def test_every_ping_of_a_trip_is_a_sample(town: Path, samples: list[Sample]) -> None:
    assert len(samples) == sum(bool(ping.trip_id) for ping in read_pings(town))
    first = samples[0]
    assert first.true_s == (first.trip.dropoff_ms - first.t_ms) / 1_000
    assert {sample.reading.features.leg for sample in samples} <= {"to_customer", "at_customer"}


def test_the_first_trip_knows_no_traffic(samples: list[Sample]) -> None:
    assert samples[0].reading.way.fleet_pace_s_per_km is None
    assert samples[-1].reading.way.fleet_pace_s_per_km is not None


def test_the_traffic_of_a_taxi_is_that_of_the_others(town: Path) -> None:
    trips = read_trips(town)
    alone = [ping for ping in read_pings(town) if ping.rider_id == "taxi-0"]
    for _, sample in walk(alone, trips):
        assert sample is None or sample.reading.way.fleet_pace_s_per_km is None


def test_what_comes_later_changes_no_sample(town: Path) -> None:
    trips, pings = read_trips(town), read_pings(town)
    whole = [sample for _, sample in walk(pings, trips)]
    for count in (1, len(pings) // 3, len(pings) // 2):
        assert [sample for _, sample in walk(pings[:count], trips)] == whole[:count]


def test_it_learns_that_headings_differ(samples: list[Sample]) -> None:
    later = samples[len(samples) // 2 :]
    without = WITHOUT["rider_speed_mps"]
    without_speed = [sample._replace(reading=without(sample.reading)) for sample in later]
    model = Baseline(fit(without_speed)).without_hand_over()
    own = errors([each.p50_s for each in predicted(model, without_speed)], later)
    assert own.mae < 0.6 * errors(straight_line(later), later).mae
    assert own.mae < 0.6 * errors(table(later), later).mae
    assert model.constants.distance_m == KNOTS_M
    assert model.constants.cell_exponent > 0.5


def test_constants_can_be_learned_without_what_they_are_tested_on(samples: list[Sample]) -> None:
    found = left_out(samples, lambda sample: int(sample.trip.rider_id[-1]) % 2)
    assert len(found) == len(samples)
    assert errors(found, samples).mae < errors(straight_line(samples), samples).mae


def test_the_tables_are_printed(samples: list[Sample]) -> None:
    text = "\n".join(lines(samples, packaged_baseline().without_hand_over()))
    for title in ("table: distance band", "by straight distance", "by local hour", "worth of a feature", "P90"):
        assert title in text
    assert "nan" not in text


def test_constants_are_written_with_their_origin(
    town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RIDELOG_GPS_DATA", str(town))
    assert main(["--halves", "--fit", str(tmp_path / "learned.json")]) == 0
    written = (tmp_path / "learned.json").read_text()
    assert json.loads(written)["origin"]["samples"].endswith("4 days")
    assert Baseline.from_json(written).constants.constant_s == CHOSEN.constant_s
    printed = capsys.readouterr().out
    assert "ETA: the baseline" in printed
    assert "chosen on 3 of 5 taxis" in printed


def test_the_choice_with_the_lowest_score_is_chosen(samples: list[Sample]) -> None:
    assert choose(samples, lambda constants: abs(constants.constant_s - 30.0) + constants.rider_exponent) == Choice(
        30.0, 0.0
    )


def test_without_the_data_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("RIDELOG_GPS_DATA", raising=False)
    assert main([]) == 2
    assert "RIDELOG_GPS_DATA" in capsys.readouterr().err
