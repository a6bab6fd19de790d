"""The distribution of a feature in a training set, and what is served counted in its bins."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.features.drift.reference import (
    FeatureReference,
    InvalidReference,
    count_in,
    reference_of,
    references_from,
    references_of,
)

numbers = st.lists(st.none() | st.floats(-1e6, 1e6) | st.integers(-5, 5), max_size=60)


def test_numbers_are_in_quantile_bins_with_one_for_unknown() -> None:
    found = reference_of([*range(1, 101), None, float("nan")])
    assert found.edges == (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0)
    assert found.counts == (*[10] * 10, 2)


def test_equal_quantiles_are_one_bin_and_a_new_value_has_one() -> None:
    mostly_one = reference_of([1] * 95 + [2] * 5)
    assert mostly_one == FeatureReference((1.0,), (), (95, 5, 0))
    constant = reference_of([0.0] * 7)
    assert constant.counts == (7, 0, 0)
    assert count_in(constant, [0.0, 0.5, None]) == (1, 1, 1)


def test_text_has_a_bin_for_each_label_and_one_for_new_ones() -> None:
    legs = reference_of(["to_customer", "unassigned", "unassigned", None])
    assert legs == FeatureReference((), ("to_customer", "unassigned"), (1, 2, 0, 1))
    assert count_in(legs, ["at_customer", "unassigned", 3.0]) == (0, 1, 2, 0)


def test_a_feature_that_was_always_unknown_has_two_bins() -> None:
    assert reference_of([None, None]).counts == (0, 2)
    assert count_in(reference_of([None]), [4.0, None]) == (1, 1)


@given(numbers, numbers)
@settings(max_examples=50)
def test_every_value_is_in_one_bin_and_the_manifest_keeps_all(training: list[Any], served: list[Any]) -> None:
    found = reference_of(training)
    assert sum(found.counts) == len(training)
    assert sum(count_in(found, served)) == len(served)
    assert count_in(found, training) == found.counts
    stored = json.loads(json.dumps(references_of({"some": training})))
    assert references_from(stored) == {"some": found}


@pytest.mark.parametrize(
    "stored",
    [
        [],
        {"a": 3},
        {"a": {"edges": [1.0], "labels": []}},
        {"a": {"edges": [2.0, 1.0], "labels": [], "counts": [1, 1, 1, 1]}},
        {"a": {"edges": [float("inf")], "labels": [], "counts": [1, 1, 1]}},
        {"a": {"edges": [1.0], "labels": ["x"], "counts": [1, 1, 1, 1]}},
        {"a": {"edges": [1.0], "labels": [], "counts": [1, 1]}},
        {"a": {"edges": [1.0], "labels": [], "counts": [1, -1, 1]}},
        {"a": {"edges": [1.0], "labels": [], "counts": [1, 1.5, 1]}},
        {"a": {"edges": [], "labels": ["x", "x"], "counts": [1, 1, 1, 1]}},
        {"a" * 65: {"edges": [], "labels": [], "counts": [1, 1]}},
        {"a": {"edges": list(range(101)), "labels": [], "counts": [0] * 103}},
    ],
)
def test_a_reference_from_a_file_is_bounded_before_it_is_believed(stored: Any) -> None:
    with pytest.raises(InvalidReference):
        references_from(stored)


def test_the_effective_size_is_stored_and_a_reference_of_before_has_none() -> None:
    stored = references_of({"leg": ["a", "b", "b"]}, 1.8)
    assert references_from(stored)["leg"].independent == 1.8
    del stored["leg"]["independent"]
    assert references_from(stored)["leg"].independent is None


@pytest.mark.parametrize("independent", [-1, 3.5, float("nan"), "2", True, [2]])
def test_a_size_that_the_rows_cannot_have_is_rejected(independent: object) -> None:
    stored = references_of({"leg": ["a", "b", "b"]})
    stored["leg"]["independent"] = independent
    with pytest.raises(InvalidReference, match="independent rows"):
        references_from(stored)
