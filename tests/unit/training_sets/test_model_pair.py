"""Two models on the same rows: the change in the error, how surely it is one, and how far the answers are apart."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from infrastructure.training_sets.eta_scores import Answers, Truth
from infrastructure.training_sets.model_pair import PairScores, pair_lines, pair_scores


def compared(p50_s: list[float], other_s: list[float], label_s: list[float], orders: list[int]) -> PairScores:
    truth = Truth(np.array(label_s), np.arange(len(label_s)), np.array(orders))
    return pair_scores("other", "d" * 64, Answers(np.array(p50_s)), Answers(np.array(other_s)), truth)


def test_the_change_is_the_models_error_less_that_of_the_other() -> None:
    # Errors of 10, 10, 40 s, and of 20, 30, 10 s: one order is nearer by 30 s in all, the other farther by 30 s.
    found = compared([110.0, 90.0, 240.0], [120.0, 130.0, 190.0], [100.0, 100.0, 200.0], [1, 1, 2])
    assert (found.rows, found.orders) == (3, 2)
    assert (found.mae_s, found.other_mae_s, found.change_s) == (20.0, 20.0, 0.0)
    assert found.standard_error_s == pytest.approx(np.sqrt(30.0**2 + 30.0**2) / 3)
    assert found.apart_s == pytest.approx((10.0 + 40.0 + 50.0) / 3)
    assert "change +0.0 s, standard error 14.1 s" in pair_lines(found)[2]


def test_a_model_beside_itself_changes_nothing() -> None:
    found = compared([1.0, 2.0], [1.0, 2.0], [3.0, 4.0], [1, 2])
    assert (found.change_s, found.standard_error_s, found.apart_s) == (0.0, 0.0, 0.0)


def test_the_change_of_two_models_that_are_equally_good_is_within_three_standard_errors() -> None:
    chance = Random(9)
    label = [chance.gauss(900.0, 200.0) for _ in range(2_000)]
    one, other = ([truth + chance.gauss(0.0, 100.0) for truth in label] for _ in range(2))
    found = compared(one, other, label, [n // 2 for n in range(2_000)])
    assert abs(found.change_s) < 3.0 * found.standard_error_s
    nearer = [truth + chance.gauss(0.0, 50.0) for truth in label]
    better = compared(nearer, other, label, [n // 2 for n in range(2_000)])
    assert better.change_s < -3.0 * better.standard_error_s


def test_without_rows_nothing_is_compared() -> None:
    with pytest.raises(ValueError, match="no row has a label"):
        compared([], [], [], [])
