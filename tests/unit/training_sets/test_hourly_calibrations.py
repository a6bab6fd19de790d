"""The calibrations of many hours at once are, to the bit, those that serving computes an hour at a time."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.calibration.adjustment import ALL, Cell
from domain.features.calibration.online import HOUR_MS, WINDOW_HOURS, calibration_at
from domain.features.calibration.recurrence import MAX_CITIES
from domain.features.calibration.scores import BINS, one_in
from infrastructure.training_sets.hourly_calibrations import calibrations

FIRST = 497_000
"""Some hour since the epoch."""

Hours = dict[int, dict[Cell, list[int]]]


def check(hours: Hours, asked: list[int]) -> None:
    found = {hour: calibration.rows() for hour, calibration in calibrations(hours, asked)}
    assert list(found) == sorted(asked)
    assert found == {hour: calibration_at(hours, hour * HOUR_MS).rows() for hour in asked}


cells = st.tuples(st.sampled_from(("unassigned", "to_customer")), st.sampled_from((ALL, "Bonn", "Ulm")))
scores = st.builds(lambda number: list(one_in(number)), st.integers(0, BINS - 1)) | st.just([0] * BINS)
"""Of an hour and cell; also counts of which none is left, as a projection can have them."""
near = st.integers(FIRST, FIRST + 5) | st.integers(FIRST + WINDOW_HOURS - 2, FIRST + WINDOW_HOURS + 3)
"""Hours next to each other, and such that a window ends or begins between them."""


@given(st.dictionaries(near, st.dictionaries(cells, scores, max_size=4), max_size=8), st.sets(near, max_size=8))
def test_any_counts_and_hours(hours: Hours, asked: set[int]) -> None:
    check(hours, list(asked))


def test_hours_without_any_outcome_before_them() -> None:
    check({}, [FIRST, FIRST + 1])
    check({FIRST: {("to_customer", ALL): list(one_in(20))}}, [FIRST, FIRST + WINDOW_HOURS + 1])


@pytest.mark.parametrize("cities", [3, MAX_CITIES + 3])
def test_a_long_history_whose_windows_move(cities: int) -> None:
    # With more cities than have cells of their own, which ones have them differs from hour to hour.
    chance, hours = Random(7), Hours()
    for hour in range(FIRST, FIRST + WINDOW_HOURS + 40):
        if hour % 24 < 4 or (cities > MAX_CITIES and hour % 12):
            continue
        for _ in range(chance.randrange(1, 30)):
            cell = (chance.choice(("unassigned", "to_customer")), f"{chance.randrange(cities)}")
            bins = hours.setdefault(hour, {}).setdefault(cell, [0] * BINS)
            bins[min(BINS - 1, max(0, round(chance.gauss(22.0, 7.0))))] += 1
    check(hours, [FIRST + n for n in (5, 30, 100, WINDOW_HOURS, WINDOW_HOURS + 7, WINDOW_HOURS + 30)])
