"""The pace of a cell: that of its riders where they are many, of its neighbourhood where they are few."""

from __future__ import annotations

import pytest
from h3.api import basic_int
from hypothesis import given
from hypothesis import strategies as st

from domain.features.traffic.city import CityTraffic, Sums, traffic_levels
from domain.features.traffic.steps import cell_at, parent_of

CELL = cell_at(37.77, -122.42)
SIBLING = next(cell for cell in basic_int.cell_to_children(parent_of(CELL), 8) if cell != CELL)
FAR = cell_at(37.62, -122.38)
MONDAY_MS = 4 * 86_400_000


def ridden(km: float, pace_s_per_km: float) -> Sums:
    return round(km * pace_s_per_km * 1_000), round(km * 1_000_000)


def city(
    headings: dict[tuple[int, int], Sums] | None = None,
    hours: dict[int, dict[int, Sums]] | None = None,
    recent: dict[tuple[int, int], tuple[int, int, int]] | None = None,
) -> CityTraffic:
    return CityTraffic(traffic_levels(headings or {}, hours or {}, recent or {}))


def pace(of: CityTraffic, cell: int = CELL, octant: int = 0) -> float:
    found = of.pace(cell, octant, MONDAY_MS)
    assert found is not None
    return found


def test_without_a_kilometre_of_the_fleet_nothing_is_known() -> None:
    empty = city({(FAR, 0): ridden(0.999, 200)})
    assert (empty.pace(CELL, 0, 0), empty.fleet_pace(), empty.index(CELL, 0, 0)) == (None, None, None)


def test_a_cell_without_riders_has_the_pace_of_the_fleet() -> None:
    assert pace(city({(FAR, 0): ridden(50, 200)})) == pytest.approx(200)


def test_many_riders_decide_and_few_hardly_count() -> None:
    fleet = {(FAR, 0): ridden(10_000, 200)}
    assert pace(city(fleet | {(CELL, 0): ridden(5_000, 400)})) == pytest.approx(400, rel=0.02)
    assert pace(city(fleet | {(CELL, 0): ridden(0.1, 400)})) == pytest.approx(200, rel=0.1)


def test_each_heading_has_a_pace_of_its_own() -> None:
    both = city({(CELL, 0): ridden(1_000, 100), (CELL, 4): ridden(1_000, 300)})
    assert pace(both, octant=0) == pytest.approx(100, rel=0.02)
    assert pace(both, octant=4) == pytest.approx(300, rel=0.02)
    assert pace(both, octant=2) == pytest.approx(200, rel=0.02)


def test_a_cell_without_riders_takes_after_its_parent() -> None:
    near = city({(FAR, 0): ridden(1_000, 200), (SIBLING, 0): ridden(1_000, 400)})
    assert pace(near) > 350


def test_an_hour_of_the_week_changes_the_pace_of_its_neighbourhood() -> None:
    usual = {(CELL, 0): ridden(1_000, 200), (FAR, 0): ridden(1_000, 200)}
    rush = city(usual, {CELL: {0: ridden(500, 400)}})
    assert pace(rush) > 350
    assert pace(rush, FAR) > 300  # the hour of the fleet
    assert rush.pace(CELL, 0, MONDAY_MS + 3_600_000) == pytest.approx(200, rel=0.01)


def test_three_riders_of_the_last_half_hour_are_traffic_and_two_are_not() -> None:
    usual = {(CELL, 0): ridden(1_000, 200)}
    jam = ridden(6, 600)
    assert pace(city(usual, recent={(CELL, 0): (*jam, 3)})) > 400
    two = city(usual, recent={(CELL, 0): (*jam, 2)})
    assert pace(two) < 320  # only what the whole fleet is slower
    assert pace(two) == pace(two, octant=1)


def test_the_index_is_one_where_traffic_is_free() -> None:
    hours = {CELL: {3: ridden(10, 100), 8: ridden(100, 300), 9: ridden(9.9, 50)}}
    found = city({(CELL, 0): ridden(119.9, 250)}, hours)
    assert found.free_flow_pace(CELL) == pytest.approx(100)
    index = found.index(CELL, 0, MONDAY_MS)
    assert index == pytest.approx(100 / pace(found))


def test_the_free_flow_pace_of_a_cell_with_few_kilometres_is_that_of_its_parent() -> None:
    hours = {CELL: {3: ridden(5, 90)}, SIBLING: {3: ridden(6, 110)}}
    found = city({(CELL, 0): ridden(11, 100)}, hours)
    assert found.free_flow_pace(CELL) == pytest.approx((5 * 90 + 6 * 110) / 11)
    assert found.free_flow_pace(FAR) is None
    assert found.index(FAR, 0, 0) is None


sums = st.builds(ridden, st.integers(0, 200), st.integers(25, 1_000))


@given(
    st.dictionaries(st.tuples(st.sampled_from([CELL, SIBLING, FAR]), st.integers(0, 7)), sums),
    st.dictionaries(st.sampled_from([CELL, SIBLING, FAR]), st.dictionaries(st.integers(0, 167), sums)),
    st.integers(0, 7),
    st.integers(0, 10**13),
)
def test_a_pace_is_known_and_finite_once_the_fleet_has_ridden(
    headings: dict[tuple[int, int], Sums], hours: dict[int, dict[int, Sums]], octant: int, at_ms: int
) -> None:
    found = city(headings, hours)
    known = sum(mm for _, mm in headings.values()) >= 1_000_000
    for cell in (CELL, SIBLING, FAR):
        its = found.pace(cell, octant, at_ms)
        assert (its is not None) == known
        assert its is None or 0.0 < its < 100_000.0
        assert found.pace(cell, octant, at_ms) == its
