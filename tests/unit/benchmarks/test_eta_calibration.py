"""The benchmark of the calibration: its drifts, the methods that it compares, and its figures."""

from __future__ import annotations

import pytest

from benchmarks.calibration_drift import DRIFTS, METHODS, WEEK_H, WEEKS, coverage, drift_of, hours_of
from benchmarks.calibration_promotion import DayCoverage, days_after, hours_with_promotion
from benchmarks.eta_calibration import cost_lines

ORDERS = 1_000


@pytest.mark.parametrize("kind", ["none", "slower", "season", "evenings", "days", "storm"])
def test_what_is_served_is_within_3_standard_errors_in_every_week(kind: str) -> None:
    found = coverage(list(hours_of(kind, ORDERS)), METHODS["served"]())
    assert (found.weeks_beyond_3, found.worst <= 3.0) == (0, True)
    assert found.over_all == pytest.approx((0.5, 0.9), abs=0.01)


def test_a_model_that_is_not_calibrated_loses_its_coverage_once_rides_are_slower() -> None:
    hours = list(hours_of("slower", ORDERS))
    assert len(hours) == WEEKS * WEEK_H
    found = coverage(hours, METHODS["not calibrated"]())
    assert found.weeks_beyond_3 >= 4
    assert found.over_all[1] < 0.85


def test_a_window_is_right_while_nothing_drifts_and_is_late_after_it_did() -> None:
    still = coverage(list(hours_of("none", ORDERS)), METHODS["window of 28 days"]())
    assert still.over_all == pytest.approx((0.5, 0.9), abs=0.03)
    moved = coverage(list(hours_of("slower", ORDERS)), METHODS["window of 28 days"]())
    assert moved.weeks_beyond_3 > still.weeks_beyond_3


def test_every_drift_is_finite_and_the_first_week_of_most_is_as_the_model_says() -> None:
    for kind in DRIFTS:
        assert all(abs(drift_of(kind, hour).log_factor) < 1.0 for hour in range(0, WEEKS * WEEK_H, 7))
    assert drift_of("slower", 0) == drift_of("none", 0)


def test_the_costs_are_figures() -> None:
    lines = list(cost_lines())
    assert len(lines) == 3
    assert all("µs" in line for line in lines)


def test_the_scores_of_the_model_before_mislead_for_a_day_after_a_promotion() -> None:
    hours = list(hours_with_promotion(3_000, seed=1))
    kept, fresh = (days_after(hours, fresh=fresh) for fresh in (False, True))
    assert kept[0].at_most_p90 > fresh[0].at_most_p90
    later = DayCoverage()
    for day in kept[1:]:
        later = later.plus(day)
    assert later.at_most_p50 / later.orders == pytest.approx(0.5, abs=0.03)
    assert later.at_most_p90 / later.orders == pytest.approx(0.9, abs=0.02)
