"""Scores of answers, the thresholds that follow them hour by hour, and the adjustment of the served quantiles."""

from __future__ import annotations

from math import exp, log, sqrt
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.features.calibration.adjustment import ALL, IDENTITY, NOT_CALIBRATED, Calibration, Thresholds
from domain.features.calibration.online import HOUR_MS, WINDOW_HOURS, OnlineCalibration, calibration_at
from domain.features.calibration.recurrence import (
    MAX_CITIES,
    HourCounts,
    Recurrence,
    calibrate,
    cities_of,
    share_up_to,
)
from domain.features.calibration.scores import BINS, EDGES, bin_of, one_in, score
from domain.features.eta.quantiles import EtaQuantiles

LEG = "to_customer"
HOUR = 497_000
"""Some hour since the epoch, the first of a test."""
DAY_H, WEEK_H = 24, 168


def counts(*scores: int) -> list[int]:
    bins = [0] * BINS
    for each in scores:
        bins[bin_of(each)] += 1
    return bins


# Scores


def test_the_p50_of_the_model_has_score_0_and_its_p90_1000() -> None:
    assert score(600_000, 900_000, 600_000) == 0
    assert score(600_000, 900_000, 900_000) == 1_000
    assert score(600_000, 900_000, 599_999) == -1
    assert score(600_000, 900_000, 450_000) == -500


def test_a_p90_next_to_the_p50_does_not_make_a_score_extreme() -> None:
    assert score(800_000, 800_000, 900_000) == 1_000
    assert score(0, 0, 10_000) == 1_000


def test_an_order_that_was_handed_over_before_the_answer_counts_as_a_truth_of_0() -> None:
    assert score(60_000, 120_000, -5_000_000) == score(60_000, 120_000, 0)


@given(st.integers(-(10**15), 10**15))
def test_each_score_is_in_one_bin(found: int) -> None:
    number = bin_of(found)
    assert 0 <= number < BINS
    assert number == 0 or EDGES[number - 1] <= found
    assert number == len(EDGES) or found < EDGES[number]
    assert sum(one_in(number)) == one_in(number)[number] == 1
    assert len(one_in(number)) == BINS


# The adjustment

seconds = st.floats(0, 1e6)
thresholds = st.integers(EDGES[0], EDGES[-1])


@given(seconds, seconds, thresholds, thresholds)
def test_adjusted_quantiles_are_not_negative_and_in_order(p50: float, more: float, low: int, high: int) -> None:
    found = Calibration({(LEG, "x"): Thresholds(*sorted((low, high)))}).adjust(LEG, "x", EtaQuantiles(p50, p50 + more))
    assert 0.0 <= found.p50_s <= found.p90_s < float("inf")


@given(seconds, seconds, st.lists(thresholds, min_size=3, max_size=3))
def test_a_higher_threshold_never_gives_a_lower_quantile(p50: float, more: float, found: list[int]) -> None:
    low, middle, high = sorted(found)
    model = EtaQuantiles(p50, p50 + more)
    one, other = (Calibration({(LEG, ALL): Thresholds(each, high)}).adjust(LEG, "x", model) for each in (low, middle))
    assert one.p50_s <= other.p50_s
    assert other.p50_s <= other.p90_s


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7))
def test_a_truth_is_covered_if_its_score_is_below_the_threshold(p50: int, more: int, truth: int) -> None:
    of_truth = score(p50, p50 + more, truth)
    model = EtaQuantiles(p50 / 1_000, (p50 + more) / 1_000)
    for threshold, covered in ((of_truth + 1, True), (of_truth - 1, False)):
        adjusted = Calibration({(LEG, ALL): Thresholds(threshold, threshold)}).adjust(LEG, "", model)
        # The score is of whole milliseconds, and its spread is rounded down by up to one.
        rounding_s = 0.01 + abs(threshold) / 1e6
        if covered:
            assert truth / 1_000 <= adjusted.p90_s + rounding_s
        elif adjusted.p50_s > 0.0:
            assert adjusted.p50_s <= truth / 1_000 + rounding_s


@given(seconds, seconds)
def test_without_outcomes_nothing_changes(p50: float, more: float) -> None:
    model = EtaQuantiles(p50, p50 + more)
    assert NOT_CALIBRATED.adjust(LEG, "x", model) == model
    assert calibrate([]).adjust(LEG, "x", model) == model


def test_a_cell_without_outcomes_has_the_thresholds_of_its_leg_then_of_all() -> None:
    found = Calibration({(LEG, "a"): Thresholds(1, 2), (LEG, ALL): Thresholds(3, 4), (ALL, ALL): Thresholds(5, 6)})
    assert [found.of(LEG, "a"), found.of(LEG, "b"), found.of(LEG, ""), found.of("at_customer", "a")] == [
        (1, 2),
        (3, 4),
        (3, 4),
        (5, 6),
    ]
    assert NOT_CALIBRATED.of(LEG, "a") == IDENTITY
    assert (
        Calibration.of_rows(found.rows()).rows() == found.rows() == [("", "", 5, 6), (LEG, "", 3, 4), (LEG, "a", 1, 2)]
    )


# The recurrence


def test_the_share_within_a_bin_is_that_of_evenly_spread_scores() -> None:
    bins = counts(110, 120, 130, 190)
    assert [share_up_to(bins, 4, at) for at in (100, 125, 150, 200)] == [0.0, 0.25, 0.5, 1.0]
    assert share_up_to(counts(EDGES[0] - 1), 1, EDGES[0]) == 1.0


cells = st.tuples(st.sampled_from(["unassigned", LEG]), st.sampled_from([ALL, "a", "b"]))
hours = st.lists(
    st.dictionaries(cells, st.lists(st.integers(-2_500, 5_000), max_size=6).map(lambda found: counts(*found))),
    max_size=6,
)


@given(hours, st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_the_order_of_cells_in_an_hour_changes_nothing(given_hours: list[HourCounts], chance: Random) -> None:
    shuffled = []
    for each in given_hours:
        items = list(each.items())
        chance.shuffle(items)
        shuffled.append(dict(items))
    assert calibrate(shuffled).rows() == calibrate(given_hours).rows()


@given(hours)
@settings(max_examples=50)
def test_thresholds_are_in_order_bounded_and_of_the_cells_that_have_outcomes(given_hours: list[HourCounts]) -> None:
    found = calibrate(given_hours)
    for p50, p90 in found.thresholds.values():
        assert EDGES[0] <= p50 <= p90 <= EDGES[-1]
    with_outcomes = {cell for each in given_hours for cell, bins in each.items() if any(bins)}
    coarser = {(leg, ALL) for leg, _ in with_outcomes} | ({(ALL, ALL)} if with_outcomes else set())
    assert found.thresholds.keys() == with_outcomes | coarser


@given(hours)
@settings(max_examples=30)
def test_a_copy_goes_on_by_itself(given_hours: list[HourCounts]) -> None:
    first = Recurrence()
    for each in given_hours:
        first.add_hour(each)
    second, before = first.copy(), first.calibration().rows()
    second.add_hour({(LEG, "a"): counts(4_000, 4_000)})
    assert first.calibration().rows() == before
    assert calibrate([*given_hours, {(LEG, "a"): counts(4_000, 4_000)}]).rows() == second.calibration().rows()


def test_a_cell_of_few_outcomes_borrows_from_its_leg() -> None:
    late = {(LEG, "big"): counts(*range(500, 2_500, 50))}
    found = calibrate([*[late] * 60, {(LEG, "small"): counts(1_000)}])
    of_leg, small = found.of(LEG, ALL), found.of(LEG, "small")
    assert of_leg.p50 == pytest.approx(1_500, abs=150)
    assert small.p50 == pytest.approx(of_leg.p50, abs=150)
    later = calibrate([*[late] * 60, {(LEG, "small"): counts(1_000)}, *[{(LEG, "big"): counts(*[3_500] * 40)}] * 20])
    assert later.of(LEG, "small").p50 > small.p50 + 500, "it does not follow its leg"


def test_a_cell_of_many_outcomes_is_its_own() -> None:
    both: HourCounts = {(LEG, "late"): counts(*range(950, 1_950, 50)), (LEG, "early"): counts(*range(-1_050, -50, 50))}
    found = calibrate([both] * 60)
    assert found.of(LEG, "late").p50 == pytest.approx(1_450, abs=150)
    assert found.of(LEG, "early").p50 == pytest.approx(-550, abs=150)


def test_only_the_largest_cities_have_cells_of_their_own() -> None:
    found: HourCounts = {
        (LEG, f"{number:03}"): counts(*[100] * (2 if number else 1)) for number in range(MAX_CITIES + 1)
    }
    assert cities_of([found]) == {f"{number:03}" for number in range(1, MAX_CITIES + 1)}
    rows = calibrate([found]).rows()
    assert len(rows) == MAX_CITIES + 2
    assert (LEG, "000") not in {row[:2] for row in rows}


def drifted_weeks(kind: str, orders_of_a_week: int, weeks: int) -> list[tuple[list[float], list[float]]]:
    """The truths at most P50, and at most P90, of each week: hour by hour, with what the hours before it gave."""
    chance, recurrence = Random(f"{kind} {orders_of_a_week}"), Recurrence()
    covered: list[tuple[list[float], list[float]]] = [([], []) for _ in range(weeks)]
    waiting = [NOT_CALIBRATED] * 2
    for hour in range(weeks * WEEK_H):
        busy = 1.0 if 11 <= hour % DAY_H < 21 else 0.05
        expected = orders_of_a_week / 7 / 10.7 * busy
        drift = {"step": log(1.3) * (hour >= 3 * WEEK_H + 60), "season": 0.3 * hour / (weeks * WEEK_H), "none": 0.0}[
            kind
        ]
        found = []
        for _ in range(int(expected) + (chance.random() < expected % 1)):
            model = EtaQuantiles(1_500.0 * exp(chance.gauss(0, 0.3)), 0.0)
            model = model._replace(p90_s=model.p50_s * 1.4)
            truth_s = model.p50_s * exp(drift + 0.1 + chance.gauss(0, 0.3))
            served = waiting[0].adjust(LEG, "x", model)
            for of_level, quantile in zip(covered[hour // WEEK_H], served, strict=True):
                of_level.append(truth_s <= quantile)
            found.append(score(*(round(1_000 * each) for each in (*model, truth_s))))
        recurrence.add_hour({(LEG, "x"): counts(*found)})
        # An order takes an hour, so what an hour says is known one hour later.
        waiting = [waiting[1], recurrence.calibration()]
    return covered


@pytest.mark.parametrize("kind", ["none", "step", "season"])
def test_the_coverage_holds_in_every_week_and_over_all_while_the_traffic_drifts(kind: str) -> None:
    weeks = drifted_weeks(kind, 1_200, 6)[1:]
    for number, level in enumerate((0.5, 0.9)):
        shares = [sum(week[number]) / len(week[number]) for week in weeks]
        for week, share in zip(weeks, shares, strict=True):
            assert abs(share - level) <= 3 * sqrt(level * (1 - level) / len(week[number])), (kind, level, shares)
        assert abs(sum(shares) / len(shares) - level) <= 0.01, (kind, level, shares)


# The hours that count


def test_an_outcome_counts_once_its_hour_is_over() -> None:
    online = OnlineCalibration()
    model = EtaQuantiles(600.0, 900.0)
    online.add((LEG, "x"), model, 1_200.0, HOUR * HOUR_MS)
    assert online.at((HOUR + 1) * HOUR_MS - 1).of(LEG, "x") == IDENTITY
    online.add((LEG, "x"), model, 1_200.0, (HOUR + 1) * HOUR_MS - 1)
    found = online.at((HOUR + 1) * HOUR_MS).of(LEG, "x")
    assert found.p50 > IDENTITY.p50
    assert found == calibration_at({HOUR: {(LEG, "x"): counts(2_000, 2_000)}}, (HOUR + 1) * HOUR_MS).of(LEG, "x")


@pytest.mark.parametrize("cities", [2, MAX_CITIES + 3])
def test_an_evaluation_has_the_calibration_of_the_counts_at_each_hour(cities: int) -> None:
    # Also when cities share the cells of their legs.
    chance, online, hours = Random(5), OnlineCalibration(), dict[int, dict[tuple[str, str], list[int]]]()
    for hour in range(HOUR, HOUR + 12):
        for _ in range(40):
            cell, truth_s = (LEG, f"{chance.randrange(cities)}"), chance.lognormvariate(6.6, 0.4)
            online.add(cell, EtaQuantiles(600.0, 900.0), truth_s, hour * HOUR_MS)
            bins = hours.setdefault(hour, {}).setdefault(cell, [0] * BINS)
            bins[bin_of(score(600_000, 900_000, round(1_000 * truth_s)))] += 1
        at_ms = (hour + 1) * HOUR_MS
        assert online.at(at_ms).rows() == calibration_at(hours, at_ms).rows()


def test_an_outcome_of_a_closed_hour_is_refused() -> None:
    online = OnlineCalibration()
    online.at(HOUR * HOUR_MS)
    with pytest.raises(ValueError, match="has been calibrated before it"):
        online.add((LEG, "x"), EtaQuantiles(600.0, 900.0), 1_200.0, HOUR * HOUR_MS - 1)


def test_an_outcome_counts_for_28_days() -> None:
    found = {HOUR: {(LEG, "x"): counts(2_000)}}
    assert calibration_at(found, (HOUR + WINDOW_HOURS) * HOUR_MS + HOUR_MS - 1).of(LEG, "x") != IDENTITY
    assert calibration_at(found, (HOUR + WINDOW_HOURS + 1) * HOUR_MS).of(LEG, "x") == IDENTITY
