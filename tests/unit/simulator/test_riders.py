"""Simulated riders stay on streets and within their speed, and the seed determines everything."""

from __future__ import annotations

from itertools import pairwise
from math import hypot
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.geo import haversine_mm
from infrastructure.simulator.riders import CRUISE_MPS, Activity, City, SimulatedRider, advance, new_rider

CITY = City()


def route(seed: int, steps: int, step_s: float = 1.0) -> list[SimulatedRider]:
    """The states of a rider, one per step."""
    chance = Random(seed)
    states = [new_rider(CITY, chance)]
    for _ in range(steps):
        states.append(advance(states[-1], step_s, CITY, chance))
    return states


@given(st.integers(0, 10_000))
def test_a_rider_keeps_to_the_streets_within_the_city(seed: int) -> None:
    half = CITY.blocks * CITY.block_m / 2
    for rider in route(seed, 120):
        off_grid = [abs((axis + half) / CITY.block_m - round((axis + half) / CITY.block_m)) for axis in rider[:2]]
        assert min(off_grid) < 1e-6, "on a street at least one coordinate is that of a street"
        assert abs(rider.east_m) <= half + 1e-6
        assert abs(rider.north_m) <= half + 1e-6


@given(st.integers(0, 10_000))
def test_no_rider_moves_faster_than_a_bicycle_or_further_than_its_odometer(seed: int) -> None:
    for before, after in pairwise(route(seed, 120)):
        moved = hypot(after.east_m - before.east_m, after.north_m - before.north_m)
        ridden = after.odometer_m - before.odometer_m
        assert moved <= ridden + 1e-6
        assert ridden <= CRUISE_MPS[2] + 1e-6
        assert 0.0 <= after.speed_mps <= CRUISE_MPS[2]


def test_a_waiting_rider_does_not_move() -> None:
    for seed in range(20):
        for before, after in pairwise(route(seed, 300)):
            if before.activity is after.activity is not Activity.RIDING and before.wait_s > after.wait_s:
                assert after[:2] == before[:2]
                assert after.speed_mps == 0.0


def test_a_long_route_has_every_activity() -> None:
    assert {rider.activity for rider in route(1, 3600)} == set(Activity)


def test_the_seed_determines_the_route() -> None:
    assert route(7, 300) == route(7, 300)
    assert route(7, 300) != route(8, 300)


def test_distances_in_the_city_are_distances_on_the_sphere() -> None:
    here, east, north = CITY.degrees_of(0.0, 0.0), CITY.degrees_of(500.0, 0.0), CITY.degrees_of(0.0, 500.0)
    assert haversine_mm(*here, *east) == pytest.approx(500_000, rel=1e-3)
    assert haversine_mm(*here, *north) == pytest.approx(500_000, rel=1e-6)
