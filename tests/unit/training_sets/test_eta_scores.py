"""The scores of ETAs, on answers that can be counted by hand; and the split by time and order."""

from __future__ import annotations

import numpy as np
import pytest

from domain.features.eta.packaged import packaged_baseline
from infrastructure.training_sets.eta_scores import Answers, Truth, clustered_error, scores
from infrastructure.training_sets.evaluate_eta import evaluate, first_of_each_order, lines
from infrastructure.training_sets.model_rows import model_rows
from infrastructure.training_sets.time_split import split_by_time
from tests.support.eta.model_rows import eta_rows

BASELINE = packaged_baseline()


def test_errors_shares_and_losses_are_those_of_the_definition() -> None:
    truth = Truth(np.array([100.0, 200.0, 1_000.0, 50.0]), np.array([0, 60_000, 0, 0]), np.array([0, 0, 1, 2]))
    nine = np.tile(np.array([[100.0]]), (4, 9))
    found = scores(Answers(np.full(4, 100.0), np.full(4, 150.0), nine), truth)
    assert (found.rows, found.orders) == (4, 3)
    assert found.mae_s == (0 + 100 + 900 + 50) / 4
    assert found.bias_s == (0 - 100 - 900 + 50) / 4
    assert (found.within_2_min, found.within_5_min) == (0.75, 0.75)
    assert found.later_than_said == 0.5
    assert (found.coverage_50, found.coverage_90) == (0.5, 0.5)
    assert found.pinball_50_s == 0.5 * found.mae_s
    assert found.pinball_90_s == pytest.approx((0.1 * 50 + 0.9 * 50 + 0.9 * 850 + 0.1 * 100) / 4)
    # Nine equal quantiles are a point: its CRPS is the absolute error.
    assert found.crps_s == pytest.approx(found.mae_s)
    # The first order's hand-over is moved by a minute within a minute.
    assert found.churn_s_per_minute == pytest.approx(60.0)


def test_an_eta_that_counts_down_does_not_churn() -> None:
    truth = Truth(np.array([600.0, 540.0]), np.array([0, 60_000]), np.array([0, 0]))
    assert scores(Answers(np.array([600.0, 540.0])), truth).churn_s_per_minute == 0.0


def test_without_two_answers_of_an_order_there_is_no_churn_and_without_quantiles_no_coverage_of_them() -> None:
    found = scores(Answers(np.array([1.0])), Truth(np.array([1.0]), np.array([0]), np.array([0])))
    assert (found.churn_s_per_minute, found.coverage_90, found.pinball_90_s, found.crps_s) == (None,) * 4


def test_the_standard_error_counts_orders_and_not_their_answers() -> None:
    below = np.array([True, False] * 50)
    of_one_each = clustered_error(below, np.arange(100), 0.5)
    of_ten_each = clustered_error(np.repeat(below, 10), np.repeat(np.arange(100), 10), 0.5)
    assert of_one_each == pytest.approx(0.05)
    assert of_ten_each == pytest.approx(of_one_each)


def test_no_part_has_an_order_of_another_or_knows_what_ended_later() -> None:
    rows = model_rows(eta_rows(200, 3), BASELINE, None)
    split = split_by_time(rows, rows.completed_ms, 0.2, 0.2)
    parts = (split.training, split.validation, split.test)
    orders = [set(rows.orders[part].tolist()) for part in parts]
    assert not orders[0] & orders[1] | orders[1] & orders[2] | orders[0] & orders[2]
    assert rows.completed_ms[split.training].max() < split.validation_ms <= rows.placed_ms[split.validation].min()
    assert rows.completed_ms[split.validation].max() < split.test_ms <= rows.placed_ms[split.test].min()


def test_an_order_that_ends_after_the_cut_is_in_no_part() -> None:
    whole = list(eta_rows(100, 1))
    late = whole[10]
    late["label_event_ms"] = whole[99]["label_event_ms"]
    rows = model_rows(whole, BASELINE, None)
    split = split_by_time(rows, rows.completed_ms, 0.2, 0.2)
    assert not (split.training | split.validation | split.test)[10]


def test_regression_an_end_that_is_reported_after_the_cut_is_in_no_part_where_it_was_not_known() -> None:
    """A phone without network reports a hand-over late: the training part had an end that nothing knew at the cut."""
    whole = list(eta_rows(100, 1))
    whole[10]["label_known_ms"] = whole[99]["label_known_ms"]
    rows = model_rows(whole, BASELINE, None)
    for axis, is_in_training in (("known", False), ("position", False), ("event", True)):
        split = split_by_time(rows, rows.end_known_ms(axis), 0.2, 0.2)
        assert bool(split.training[10]) is is_in_training
        assert not (split.validation | split.test)[10]


def test_a_set_with_too_few_orders_cannot_be_split() -> None:
    rows = model_rows(eta_rows(1, 1), BASELINE, None)
    with pytest.raises(ValueError, match="no row is left for the training"):
        split_by_time(rows, rows.completed_ms, 0.15, 0.15)


def test_censored_rows_have_no_part_in_an_evaluation() -> None:
    whole = list(eta_rows(5, 2))
    for row in whole[:4]:
        row |= {"censored": True, "label_s": None, "label_event_ms": None, "label_known_ms": None}
    assert len(model_rows(whole, BASELINE, None)) == 6


def test_one_answer_an_order_is_its_earliest() -> None:
    rows = model_rows(reversed(list(eta_rows(3, 2))), BASELINE, None)
    assert rows.at_ms[first_of_each_order(rows)].tolist() == sorted(rows.at_ms.tolist())[::2][::-1]


def test_the_promise_is_judged_beside_the_models() -> None:
    found = evaluate(BASELINE, model_rows(eta_rows(30), BASELINE, None), by_order=True)
    assert found.promised is not None
    assert set(found.promised) == {"model", "baseline", "promise"}
    assert found.all["model"] == found.all["baseline"]
    assert found.all["model"].rows == 30
    assert any("promise" in line for line in lines(found))


def test_without_a_promise_none_is_judged() -> None:
    found = evaluate(BASELINE, model_rows(eta_rows(30, promised=False), BASELINE, None), by_order=False)
    assert found.promised is None
