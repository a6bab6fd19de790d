"""The robust speed on real rides, the device's own speed withheld from it and held against it.

MobilityNet has no labelled scooter, and its 73 e-bike fixes come every 32 s from a phone that reported speed 0 all
along; so the scooters are Dublin's, whose phones reported no accuracy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from statistics import mean, median
from typing import NamedTuple

import pytest

from domain.features.speed_estimate import robust_speed_mps
from domain.features.speed_window import WINDOW_PINGS, WindowPing
from tests.support.tracks import folder, rows

MAX_ACCURACY_M = 20.0
CALIBRATION = {"1564274304", "1564274314", "1564274247", "1564333996"}
"""The rides, by their start, on which the constants were chosen; the others are of other days."""

Record = Callable[[str, object], None]


class Track(NamedTuple):
    device: str
    start: str
    pings: list[WindowPing]


class Score(NamedTuple):
    """Of the estimate against the device's speed with the latest ping, and against its mean over the window; m/s."""

    windows: int
    latest_median: float
    latest_bias: float
    mean_median: float
    mean_bias: float


def rides(file: str, column: str, value: str) -> list[Track]:
    tracks: dict[tuple[str, str], list[WindowPing]] = defaultdict(list)
    for number, row in enumerate(rows(folder() / file)):
        try:
            place = float(row["latitude"]), float(row["longitude"])
        except ValueError:
            continue
        accuracy = float(row["accuracy_meters"]) if row.get("accuracy_meters") else None
        speed = float(row["speed_mps"]) if row["speed_mps"] else None
        if row[column] == value and (accuracy is None or accuracy <= MAX_ACCURACY_M):
            key = row["device_id"], row["track_id"].rsplit("/", 1)[-1]
            tracks[key].append(WindowPing(int(row["event_timestamp_ms"]), f"{number:032x}", *place, accuracy, speed))
    return [Track(*key, sorted(pings, key=lambda ping: ping[:2])) for key, pings in tracks.items()]


def windows(tracks: Iterable[Track], every_ms: int = 0) -> Iterator[list[WindowPing]]:
    """Each run of ten pings of a track, one at most in every ``every_ms``."""
    for track in tracks:
        spaced = [next(few) for _, few in groupby(track.pings, key=lambda ping: ping.t_ms // max(every_ms, 1))]
        for end in range(WINDOW_PINGS, len(spaced) + 1):
            yield spaced[end - WINDOW_PINGS : end]


def estimate(window: Iterable[WindowPing]) -> float | None:
    return robust_speed_mps([ping._replace(speed_mps=None) for ping in window])


def score(found: Iterable[list[WindowPing]]) -> Score:
    """Over the windows whose device measured its speed: 0 and less are no measurements (see the first test)."""
    latest, average = [], []
    for window in found:
        measured = [ping.speed_mps for ping in window if ping.speed_mps is not None and ping.speed_mps > 0]
        speed = estimate(window)
        if speed is None:
            continue
        if measured and window[-1].speed_mps == measured[-1]:
            latest.append(speed - measured[-1])
        if len(measured) == WINDOW_PINGS:
            average.append(speed - mean(measured))
    figures = (median(map(abs, latest)), mean(latest), median(map(abs, average)), mean(average))
    return Score(len(latest), *(round(figure, 3) for figure in figures))


@pytest.fixture(scope="module")
def bicycles() -> list[Track]:
    return rides("mobilitynet_trips.csv.gz", "mode", "BICYCLING")


def test_a_device_speed_of_zero_is_no_measurement(bicycles: list[Track]) -> None:
    phone = [track for track in bicycles if track.device == "ucb-sdb-android-2"]
    claimed_still = [window for window in windows(phone) if not any(ping.speed_mps for ping in window)]
    assert len(claimed_still) > 1_000
    assert median(filter(None, map(estimate, claimed_still))) > 3.0
    assert [robust_speed_mps(window) for window in claimed_still] == [estimate(window) for window in claimed_still]


@pytest.mark.parametrize("held_out", [True, False])
def test_bicycles_every_second(bicycles: list[Track], held_out: bool, record_property: Record) -> None:
    found = score(windows(track for track in bicycles if (track.start not in CALIBRATION) == held_out))
    record_property("bicycles, 1 s", found)
    assert found.windows > 2_000
    assert found.latest_median <= 0.5
    assert found.mean_median <= 0.5
    assert abs(found.latest_bias) <= 0.1
    assert abs(found.mean_bias) <= 0.1


@pytest.mark.parametrize(("every_ms", "bias"), [(3_000, 0.25), (5_000, 0.3), (10_000, 0.35), (15_000, 0.45)])
def test_bicycles_at_the_intervals_of_delivery_phones(
    bicycles: list[Track], every_ms: int, bias: float, record_property: Record
) -> None:
    """Curves and stops within an interval make the chord shorter than the way: the bias has a floor that grows."""
    found = score(windows(bicycles, every_ms))
    record_property(f"bicycles, {every_ms / 1000:.0f} s", found)
    assert found.latest_median <= 0.7
    assert abs(found.latest_bias) <= bias


@pytest.mark.parametrize(("vehicle", "error", "bias"), [("ebike", 0.3, 0.3), ("escooter", 0.8, 0.4)])
def test_vehicles_that_report_no_accuracy(vehicle: str, error: float, bias: float, record_property: Record) -> None:
    found = score(windows(rides("dublin_ebike_escooter.csv.gz", "vehicle", vehicle)))
    record_property(f"Dublin, {vehicle}", found)
    assert found.windows > 2_000
    assert found.latest_median <= error
    assert abs(found.latest_bias) <= bias
