"""Orders arrive by hour of the week, kitchens are slower when they are busy, and shifts do not overlap."""

from __future__ import annotations

from itertools import islice, pairwise
from math import exp, log
from random import Random
from statistics import mean, median, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.simulator.city import City, LocalClock
from infrastructure.simulator.deliveries import LogNormal
from infrastructure.simulator.demand import OPENING_S, Demand, arrivals, busyness, demand
from infrastructure.simulator.restaurants import SIGMA, Restaurants
from infrastructure.simulator.scenario import Scenario, shifts_of

CITY = City()
MONDAY_MS = 1_767_567_600_000
"""Monday 2026-01-05 00:00 in Barcelona."""

CLOCK = LocalClock(MONDAY_MS, CITY.time_zone)
WEEK_S = 7 * 86_400.0


def test_the_mean_of_the_week_is_one() -> None:
    assert mean(demand(step / 10) for step in range(1_680)) == pytest.approx(1.0, abs=0.02)
    assert max(busyness(step / 10) for step in range(1_680)) == pytest.approx(1.0)


def test_orders_follow_the_hour_and_have_the_given_rate() -> None:
    times = list(arrivals(Demand(10.0, by_hour=True, until_s=4 * WEEK_S), CLOCK, "1"))
    assert len(times) == pytest.approx(4 * 168 * 10, rel=0.05)
    assert all(before < after for before, after in pairwise(times))
    hours = [CLOCK.hour_of_week(at_s) % 24 for at_s in times]
    assert sum(20 <= hour < 22 for hour in hours) > 20 * sum(3 <= hour < 5 for hour in hours)


def test_steady_orders_have_the_same_rate_at_night() -> None:
    times = list(arrivals(Demand(60.0, until_s=86_400.0), CLOCK, "1"))
    assert len(times) == pytest.approx(24 * 60, rel=0.1)
    assert sum(at_s < 6 * 3_600 for at_s in times) == pytest.approx(6 * 60, rel=0.2)


def test_opening_orders_are_placed_at_once() -> None:
    times = list(islice(arrivals(Demand(1.0, opening=5), CLOCK, "1"), 6))
    assert times[4] < OPENING_S < times[5]
    assert list(arrivals(Demand(0.0), CLOCK, "1")) == []


def test_preparation_is_log_normal_around_the_usual_time() -> None:
    restaurants = Restaurants(CITY, 1, CLOCK, "1")
    (kitchen,) = restaurants.all
    # An order a day at 3 a.m.: no other order is in preparation, and the hour is quiet.
    times = [3 * 3_600.0 + day * 86_400.0 for day in range(2_000)]
    taken = [log(restaurants.prepare(kitchen, at_s).ready_s - at_s) for at_s in times]
    assert median(taken) == pytest.approx(log(kitchen.usual_s), abs=0.05)
    assert pstdev(taken) == pytest.approx(SIGMA, rel=0.08)


def test_preparation_takes_longer_in_busy_hours_and_with_more_orders() -> None:
    def mean_s(hour: float, at_once: int) -> float:
        restaurants = Restaurants(CITY, 1, CLOCK, "1")
        taken = []
        for day in range(300):
            at_s = hour * 3_600.0 + day * 86_400.0
            taken.append([restaurants.prepare(restaurants.all[0], at_s).ready_s - at_s for _ in range(at_once)][-1])
        return mean(taken)

    assert mean_s(21.0, 1) > 1.3 * mean_s(4.0, 1)
    assert mean_s(4.0, 6) > 1.2 * mean_s(4.0, 1)


def test_what_a_restaurant_states_is_in_whole_minutes_or_nothing() -> None:
    restaurants = Restaurants(CITY, 3, CLOCK, "1")
    stated = [restaurants.prepare(each, n * 600.0).stated_s for n in range(200) for each in restaurants.all]
    assert None in stated
    assert all(seconds is None or (seconds >= 60 and seconds % 60 == 0) for seconds in stated)


def test_log_normal_durations_have_a_least_value() -> None:
    drawn = [LogNormal(60.0, 0.5, 30.0).draw(Random(seed)) for seed in range(2_000)]
    assert min(drawn) == 30.0
    assert median(drawn) == pytest.approx(60.0, rel=0.05)
    assert max(drawn) < 60.0 * exp(0.5 * 5)


@given(st.integers(0, 500), st.floats(3_600.0, 3 * WEEK_S))
def test_shifts_are_within_the_simulation_and_do_not_overlap(rider: int, duration_s: float) -> None:
    scenario = Scenario("1", MONDAY_MS + 40_000_000, duration_s, shifts=True)
    shifts = list(shifts_of(f"rider-{rider}", scenario))
    assert all(0.0 <= shift.begins_s < shift.ends_s <= duration_s for shift in shifts)
    assert all(before.ends_s <= after.begins_s for before, after in pairwise(shifts))
    assert shifts == list(shifts_of(f"rider-{rider}", scenario))


def test_riders_work_eight_hours_on_five_of_seven_days() -> None:
    scenario = Scenario("1", MONDAY_MS, 4 * WEEK_S, shifts=True)
    worked_s = [
        sum(shift.ends_s - shift.begins_s for shift in shifts_of(f"rider-{rider}", scenario)) for rider in range(100)
    ]
    assert mean(worked_s) == pytest.approx(4 * 5 * 8 * 3_600.0, rel=0.05)
