"""The population stability index: known values, its symmetry, and what chance alone gives."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.features.drift.psi import SHIFTED, chance_limit, effective_size, is_shifted, psi
from domain.features.drift.reference import count_in, reference_of
from domain.features.drift.served_errors import ServedErrors

counts = st.lists(st.integers(0, 1_000), min_size=5, max_size=5)


def test_the_index_of_two_known_distributions() -> None:
    # Shares 0.5, 0.5 and 0.25, 0.75: 0.25 ln 2 + 0.25 ln 1.5.
    assert psi([50_000, 50_000], [25_000, 75_000]) == pytest.approx(0.274653, abs=1e-4)
    assert psi([10, 20, 30], [100, 200, 300]) == pytest.approx(0.0, abs=0.01)


@given(counts, counts)
@settings(max_examples=50)
def test_the_index_is_symmetric_finite_and_not_negative(reference: list[int], sample: list[int]) -> None:
    index = psi(reference, sample)
    assert index == pytest.approx(psi(sample, reference))
    assert 0.0 <= index < 50.0
    assert psi(reference, reference) == pytest.approx(0.0)


def test_nothing_served_is_no_drift_and_other_bins_are_a_defect() -> None:
    assert psi([1, 2], [0, 0]) == 0.0
    assert chance_limit([1, 2], [0, 0]) == 0.0
    with pytest.raises(ValueError, match="2 bins compared with 3"):
        psi([1, 2], [1, 2, 3])


def test_chance_alone_is_below_the_limit_and_a_shift_is_above() -> None:
    chance = random.Random(7)
    reference = reference_of([chance.gauss(0, 1) for _ in range(5_000)])
    same = [psi(reference.counts, count_in(reference, [chance.gauss(0, 1) for _ in range(300)])) for _ in range(200)]
    limit = chance_limit(reference.counts, count_in(reference, [0.0] * 300))
    assert sum(index > limit for index in same) <= 2
    # The limit is no looser than it has to be: Yurdakul's χ² of 10 bins, 9 degrees of freedom, is 27.9 at 99.9 %.
    ten_bins = chance_limit([500] * 10, [30] * 10)
    assert ten_bins == pytest.approx(27.88 * (1 / 5_000 + 1 / 300), rel=0.01)
    moved = count_in(reference, [chance.gauss(0.7, 1) for _ in range(300)])
    assert is_shifted(psi(reference.counts, moved), limit)
    # Twenty answers show nothing, however far they are.
    few = [0] * 9 + [20, 0]
    assert psi(reference.counts, few) > SHIFTED
    assert not is_shifted(psi(reference.counts, few), chance_limit(reference.counts, few, independent=3))


sizes = st.lists(st.integers(1, 500), min_size=1, max_size=60)


@given(sizes)
@settings(max_examples=100)
def test_clusters_tell_at_most_as_much_as_their_number_and_all_of_one_size_exactly_that(of_orders: list[int]) -> None:
    found = effective_size(of_orders)
    assert 1.0 <= found <= len(of_orders) + 1e-9
    assert effective_size([size * 7 for size in of_orders]) == pytest.approx(found)
    assert effective_size([of_orders[0]] * len(of_orders)) == pytest.approx(len(of_orders))
    assert effective_size([1] * sum(of_orders)) == pytest.approx(sum(of_orders))
    # One more order never makes the limit higher than if its rows were of an order that is there already.
    merged = [of_orders[0] + of_orders[-1], *of_orders[1:-1]] if len(of_orders) > 1 else of_orders
    assert effective_size(merged) <= found + 1e-9


def test_nothing_is_the_size_of_nothing() -> None:
    assert effective_size([]) == 0.0


def clustered(chance: random.Random, of_orders: list[int]) -> list[float]:
    """Rows of orders: equal within an order, as the distance from restaurant to customer is."""
    return [value for size in of_orders for value in [chance.gauss(0, 1)] * size]


def test_regression_a_set_of_few_orders_with_many_rows_shows_no_drift_by_chance() -> None:
    """The rows of the reference counted as independent: a set of 150 orders was as sure as one of thousands."""
    chance = random.Random(11)
    by_rows = by_orders = 0
    for _ in range(200):
        of_set = [chance.randint(1, 60) for _ in range(150)]
        of_day = [chance.randint(1, 60) for _ in range(150)]
        reference = reference_of(clustered(chance, of_set))
        counts = count_in(reference, clustered(chance, of_day))
        index = psi(reference.counts, counts)
        by_rows += index > chance_limit(reference.counts, counts, len(of_day))
        by_orders += index > chance_limit(reference.counts, counts, effective_size(of_day), effective_size(of_set))
    assert by_orders <= 4, by_orders
    assert by_rows >= 20, "the example is too easy: the rule of before is good enough for it"


def test_a_shift_of_clustered_rows_is_still_found() -> None:
    chance = random.Random(5)
    of_orders = [chance.randint(1, 60) for _ in range(600)]
    reference = reference_of(clustered(chance, of_orders))
    counts = count_in(reference, [value + 0.8 for value in clustered(chance, of_orders)])
    size = effective_size(of_orders)
    assert is_shifted(psi(reference.counts, counts), chance_limit(reference.counts, counts, size, size))


def test_errors_are_sums_of_answers() -> None:
    errors = ServedErrors()
    for order, p50, p90, truth in (("a", 600_000, 900_000, 660_000), ("a", 300_000, 400_000, 200_000)):
        errors.add(order, p50, p90, truth)
    assert (errors.answers, len(errors.orders)) == (2, 1)
    assert (errors.mae_s, errors.bias_s) == (80.0, 20.0)
    assert (errors.p50_held, errors.p90_held) == (1, 2)
