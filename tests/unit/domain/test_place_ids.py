"""Two projections name places by a function each. The names are the same, so that their rows can be joined."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.features.completion import result as completion_result
from domain.features.outcomes import sums as outcome_sums


@given(st.integers(-90 * 10**7, 90 * 10**7), st.integers(-180 * 10**7, 180 * 10**7))
def test_outcomes_and_completion_name_a_place_alike(latitude_e7: int, longitude_e7: int) -> None:
    """One function for both would change the digest of a fold, and each installation would have to rebuild it."""
    of_outcomes = outcome_sums.place_id(latitude_e7 / 10**7, longitude_e7 / 10**7)
    assert of_outcomes == completion_result.place_id(latitude_e7, longitude_e7)
