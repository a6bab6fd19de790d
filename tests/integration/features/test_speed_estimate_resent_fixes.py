"""The robust speed of phones that send their last fix again: unknown or the real one, never an unproven rest.

The traces are real rides of MobilityNet by car, bus and train, with repeats injected; the device's own speed is
withheld. The truth is the displacement of the ride as it was, without the repeats.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from statistics import mean, median
from typing import NamedTuple

import pytest

from domain.features.speed.estimate import robust_speed_mps
from tests.integration.features.test_speed_estimate_real_tracks import Track, rides
from tests.support.worlds.resent_fixes import metres, moving_windows, resend

Record = Callable[[str, object], None]

VEHICLES = ("CAR", "BUS", "TRAIN")
MOVING_MPS = 3.0
REST_RADIUS_M = 12.0
REST_MS = 120_000


class Served(NamedTuple):
    """Shares of the windows that are served 0 and null; error of the others in m/s."""

    windows: int
    zero: float
    null: float
    bias: float
    median_error: float


def served(tracks: Sequence[Track], counts: Sequence[int]) -> Served:
    rng = random.Random(20_260_113)
    zero = null = 0
    errors: list[float] = []
    for track in tracks:
        withheld = [ping._replace(speed_mps=None) for ping in track.pings]
        for window, truth in moving_windows(resend(withheld, counts, rng), track.pings, MOVING_MPS):
            speed = robust_speed_mps(window)
            if speed is None:
                null += 1
                continue
            zero += speed == 0.0
            errors.append(speed - truth)
    windows = null + len(errors)
    error = (mean(errors), median(map(abs, errors))) if errors else (0.0, 0.0)
    return Served(windows, *(round(figure, 3) for figure in (zero / windows, null / windows, *error)))


@pytest.fixture(scope="module")
def vehicles() -> list[Track]:
    return [track for mode in VEHICLES for track in rides("mobilitynet_trips.csv.gz", "mode", mode)]


@pytest.mark.parametrize(
    "counts",
    [[0], [1], [2], [3], [5], [9], [0, 1, 2, 3], list(range(1, 10))],
    ids=lambda counts: f"{counts[0]} to {counts[-1]} repeats",
)
def test_a_moving_vehicle_whose_fixes_are_sent_again_is_not_served_as_standing(
    vehicles: list[Track], counts: list[int], record_testsuite_property: Record
) -> None:
    """Issue 13, number 18."""
    found = served(vehicles, counts)
    record_testsuite_property(f"vehicles, {counts} repeats", found)
    assert found.windows > 2_000
    assert found.zero <= 0.05
    assert abs(found.bias) <= 0.8
    if max(counts) <= 3:
        assert found.null <= 0.5


def test_the_repeats_of_a_phone_at_rest_do_not_move_it(record_testsuite_property: Record) -> None:
    """Whole days of three phones, as recorded: the Android ones repeat positions while they are at rest."""
    rest: list[float | None] = []
    for track in rides("mobilitynet_trips.csv.gz", "mode", ""):
        for end in range(10, len(track.pings)):
            window = track.pings[end - 10 : end]
            span_ms = window[-1].t_ms - window[0].t_ms
            near = all(metres(window[0], ping) <= REST_RADIUS_M for ping in track.pings[end - 10 : end + 10])
            if near and span_ms <= REST_MS:
                rest.append(robust_speed_mps([ping._replace(speed_mps=None) for ping in window]))
    known = [speed for speed in rest if speed is not None]
    still = sum(speed < 0.5 for speed in known) / len(known)
    record_testsuite_property("at rest", (len(rest), round(len(known) / len(rest), 3), round(still, 3)))
    assert len(rest) > 1_000
    assert still >= 0.97
    assert len(known) >= 0.5 * len(rest)
