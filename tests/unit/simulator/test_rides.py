"""A ride keeps to the streets, to the rider's speed and to the clock, and can be given another target on the way."""

from __future__ import annotations

from itertools import pairwise
from math import hypot
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.simulator.city import City, LocalClock, Point, StreetTraffic, street_distance_m
from infrastructure.simulator.rides import PlannedRide, RidePlanner, route

CITY = City()
MONDAY_3_AM_MS = 1_767_578_400_000
CRUISE_MPS = 5.5
SEEDS = st.integers(0, 10_000)


def planner(hours: float = 0.0) -> RidePlanner:
    """Plans rides that begin so many hours after 3 a.m. of a Monday."""
    clock = LocalClock(MONDAY_3_AM_MS + round(hours * 3_600_000), CITY.time_zone)
    return RidePlanner(CITY, StreetTraffic(CITY, "1"), clock)


def planned(seed: int, begins_s: float = 100.0) -> PlannedRide:
    chance = Random(seed)
    return planner().plan(begins_s, CITY.any_address(chance), CITY.any_address(chance), CRUISE_MPS, chance)


def on_street(point: Point) -> bool:
    blocks = [(axis + CITY.half_m) / CITY.block_m for axis in point]
    return min(abs(axis - round(axis)) for axis in blocks) < 1e-6 and all(-1e-6 < axis < 24 + 1e-6 for axis in blocks)


def walk(ride: PlannedRide, step_s: float = 0.5) -> list[tuple[float, Point, float, float]]:
    """Time, place, speed and metres at short intervals from before the beginning to after the end."""
    times = [ride.begins_s - 1.0 + step * step_s for step in range(round((ride.ends_s - ride.begins_s) / step_s) + 6)]
    return [(now_s, *ride.at(now_s)) for now_s in times]


@given(SEEDS)
def test_a_route_is_a_shortest_way_along_streets(seed: int) -> None:
    chance = Random(seed)
    start, target = CITY.any_address(chance), CITY.any_corner(chance)
    points = route(CITY, start, target, chance)
    assert (points[0], points[-1]) == (start, target) or start == target
    length_m = sum(street_distance_m(here, there) for here, there in pairwise(points))
    assert all(min(abs(here[0] - there[0]), abs(here[1] - there[1])) < 1e-6 for here, there in pairwise(points))
    assert street_distance_m(start, target) - 1e-6 <= length_m <= street_distance_m(start, target) + CITY.block_m


@given(SEEDS)
def test_a_ride_keeps_to_the_streets_and_to_its_speed(seed: int) -> None:
    ride = planned(seed)
    for (then_s, before, _, ridden_before), (now_s, after, speed, ridden) in pairwise(walk(ride)):
        assert on_street(after)
        assert 0.0 <= speed <= CRUISE_MPS + 1e-9
        moved = hypot(after[0] - before[0], after[1] - before[1])
        assert moved <= ridden - ridden_before + 1e-6
        assert ridden - ridden_before <= CRUISE_MPS * (now_s - then_s) + 1e-6
    assert ride.at(ride.ends_s).point == ride.target
    assert ride.at(ride.ends_s + 99.0).speed_mps == 0.0


@given(SEEDS)
def test_phases_follow_each_other_without_a_gap(seed: int) -> None:
    ride = planned(seed)
    for before, after in pairwise(ride.phases):
        assert after.begins_s == pytest.approx(before.begins_s + before.lasts_s)
        end = before.at(after.begins_s)
        assert after.origin == pytest.approx(end.point, abs=1e-6)
        assert after.ridden_m == pytest.approx(end.ridden_m, abs=1e-6)


@given(SEEDS, st.floats(0.0, 3_000.0))
def test_the_instant_at_which_a_distance_is_left(seed: int, metres: float) -> None:
    ride = planned(seed)
    left_m = ride.length_m - ride.at(ride.when_left_m(metres)).ridden_m
    assert left_m == pytest.approx(min(metres, ride.length_m), abs=0.01)


@given(SEEDS, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_another_target_on_the_way_changes_nothing_before_the_next_corner(
    seed: int, first: float, second: float
) -> None:
    chance = Random(seed)
    ride = planned(seed)
    for share in (first, second):
        now_s = ride.begins_s + share * (ride.ends_s - ride.begins_s)
        target = CITY.any_address(chance)
        other = planner().reroute(ride, now_s, target, CRUISE_MPS, chance)
        assert other.begins_s == ride.begins_s
        for before_s in (ride.begins_s, (ride.begins_s + now_s) / 2, now_s):
            assert other.at(before_s).point == pytest.approx(ride.at(before_s).point, abs=1e-6)
        assert other.at(other.ends_s).point == target
        assert all(on_street(point) for _, point, _, _ in walk(other, 2.0))
        assert other.ends_s >= now_s - 1e-9
        ride = other


def test_a_ride_to_where_the_rider_is_takes_no_time() -> None:
    corner = CITY.corner_m((3, 4))
    ride = planner().plan(5.0, corner, corner, CRUISE_MPS, Random(1))
    assert (ride.ends_s, ride.length_m, ride.at(5.0).point) == (5.0, 0.0, corner)


def test_rush_hours_are_slower() -> None:
    def mean_s(hours: float) -> float:
        rides = []
        for seed in range(60):
            chance = Random(seed)
            start, target = CITY.any_address(chance), CITY.any_address(chance)
            rides.append(planner(hours).plan(0.0, start, target, CRUISE_MPS, chance).ends_s)
        return sum(rides) / len(rides)

    night, rush, noon, evening = (mean_s(hours) for hours in (0.0, 5.0, 9.0, 15.0))
    assert rush > 1.25 * night
    assert evening > 1.25 * night
    assert night < noon < rush
