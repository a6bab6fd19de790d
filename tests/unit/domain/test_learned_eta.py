"""A learned ETA: finite, ordered quantiles for every input, and the baseline where the training set had nothing."""

from __future__ import annotations

from math import inf, isfinite, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.eta.learned.inputs import INPUTS, NUMBER_OF, input_values, log_shifted
from domain.features.eta.learned.model import LEVELS, MEDIAN, P90, InputBounds, LearnedEta, LearnedSpec
from domain.features.eta.learned.trees import InvalidTrees, Node, Tree, TreeSum, check, sum_of
from domain.features.eta.packaged import packaged_baseline
from tests.support.eta.model_rows import FEATURES, WAY, facts

BASELINE = packaged_baseline()
OF_BASELINE = BASELINE.predict(FEATURES, WAY)


def model(sums: dict[int, float], weight: float = 0.0, **bounds: InputBounds) -> LearnedEta:
    """Whose trees of each level add a constant, 0 unless given."""
    spec = LearnedSpec("test", "0" * 64, ("Berlin",), bounds, weight, (0.0,) * len(LEVELS))
    return LearnedEta(spec, BASELINE, [_constant(sums.get(level, 0.0)) for level in range(len(LEVELS))])


def _constant(value: float) -> TreeSum:
    return lambda _: value


def test_without_trees_it_is_the_baseline() -> None:
    assert model({}).predict(FEATURES, WAY, facts()).p50_s == pytest.approx(OF_BASELINE.p50_s)


def test_trees_multiply_what_the_baseline_says_plus_a_minute() -> None:
    found = model({MEDIAN: 0.5}).predict(FEATURES, WAY, facts()).p50_s
    assert found == pytest.approx((OF_BASELINE.p50_s + 60.0) * 2.718281828**0.5 - 60.0)


def test_the_promise_counts_by_its_weight() -> None:
    of_promise = model({}, 1.0).predict(FEATURES, WAY, facts(promised_left_s=700.0)).p50_s
    assert of_promise == pytest.approx(700.0)
    without = model({}, 1.0).predict(FEATURES, WAY, facts(promised_left_s=None)).p50_s
    assert without == pytest.approx(OF_BASELINE.p50_s)


def test_a_broken_promise_gives_no_negative_time() -> None:
    assert model({}, 1.0).predict(FEATURES, WAY, facts(promised_left_s=-9_000.0)).p50_s == pytest.approx(0.0, abs=1e-9)


@given(st.lists(st.floats(-20.0, 20.0), min_size=9, max_size=9), st.floats(-1e6, 1e6))
def test_the_quantiles_are_finite_and_do_not_cross(sums: list[float], left_s: float) -> None:
    one = model(dict(enumerate(sums)), 0.5)
    known = facts(promised_left_s=left_s)
    p50_s, p90_s = one.predict(FEATURES, WAY, known)
    nine = one.quantiles(one.base(OF_BASELINE, known), sums)
    assert 0.0 <= p50_s <= p90_s < inf
    assert (nine[MEDIAN], nine[P90]) == (p50_s, p90_s)
    assert all(isfinite(each) for each in nine)
    assert list(nine) == sorted(nine)


@pytest.mark.parametrize(
    ("bounds", "outside"),
    [
        (InputBounds(0.0, 1_000.0, unknown=False), False),
        (InputBounds(0.0, 899.0, unknown=False), True),
        (InputBounds(901.0, 2_000.0, unknown=False), True),
    ],
)
def test_an_input_outside_the_training_set_is_answered_by_the_baseline(bounds: InputBounds, outside: bool) -> None:
    one = model({MEDIAN: 1.0}, to_customer_way_m=bounds)
    assert one.is_outside_training(FEATURES, WAY, facts()) is outside
    assert (one.predict(FEATURES, WAY, facts()) == OF_BASELINE) is outside


@pytest.mark.parametrize(("unknown", "outside"), [(True, False), (False, True)])
def test_an_unknown_input_is_outside_unless_the_training_set_had_it(unknown: bool, outside: bool) -> None:
    one = model({}, rider_to_restaurant_m=InputBounds(0.0, 1.0, unknown))
    assert one.is_outside_training(FEATURES, WAY, facts()) is outside


def test_a_city_that_is_not_in_the_training_set_is_unknown() -> None:
    values = input_values(FEATURES, WAY, facts(city="Rome"), OF_BASELINE, {"Berlin": 0})
    assert values[NUMBER_OF["city"]] != values[NUMBER_OF["city"]]
    assert input_values(FEATURES, WAY, facts(), OF_BASELINE, {"Berlin": 0})[NUMBER_OF["city"]] == 0.0


def test_inputs_have_a_value_each() -> None:
    values = input_values(FEATURES, WAY, facts(), OF_BASELINE, {})
    assert len(values) == len(INPUTS)
    assert values[NUMBER_OF["to_customer_way_m"]] == 900.0
    assert values[NUMBER_OF["promised_left_s"]] == 1_200.0
    assert values[NUMBER_OF["promise_to_baseline"]] == log_shifted(1_200.0) - log_shifted(OF_BASELINE.p50_s)


STUMP: Tree = (Node(0, 1.5, 1, 2, unknown_below=True), Node(-1, 10.0), Node(-1, 20.0))


@pytest.mark.parametrize(("value", "leaf"), [(1.4, 10.0), (1.5, 20.0), (nan, 10.0)])
def test_a_value_below_the_threshold_goes_below(value: float, leaf: float) -> None:
    assert sum_of([STUMP, STUMP], [value]) == 2 * leaf


@pytest.mark.parametrize(
    "tree",
    [
        (),
        (Node(0, nan, 1, 2), Node(-1, 0.0), Node(-1, 0.0)),
        (Node(1, 0.0, 1, 2), Node(-1, 0.0), Node(-1, 0.0)),
        (Node(0, 0.0, 0, 1), Node(-1, 0.0)),
        (Node(0, 0.0, 1, 9), Node(-1, 0.0)),
    ],
    ids=["empty", "not a number", "no such input", "a loop", "no such node"],
)
def test_trees_that_cannot_be_evaluated_are_refused(tree: Tree) -> None:
    with pytest.raises(InvalidTrees):
        check([tree], inputs=1, max_depth=5)


def test_a_tree_that_is_too_deep_is_refused() -> None:
    deep = (*(Node(0, 0.0, n + 1, n + 1) for n in range(6)), Node(-1, 0.0))
    with pytest.raises(InvalidTrees):
        check([deep], inputs=1, max_depth=5)
    check([deep], inputs=1, max_depth=6)
