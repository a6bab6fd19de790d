"""Places are on streets, distances are those of the sphere, and traffic follows the local hour."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.geo import haversine_mm
from domain.timestamps import epoch_ms
from infrastructure.simulator.city import RUSH_BY_HOUR, City, LocalClock, StreetTraffic, rush, street_distance_m

CITY = City()


def test_distances_in_the_city_are_distances_on_the_sphere() -> None:
    here, east, north = CITY.degrees_of(0.0, 0.0), CITY.degrees_of(500.0, 0.0), CITY.degrees_of(0.0, 500.0)
    assert haversine_mm(*here, *east) == pytest.approx(500_000, rel=1e-3)
    assert haversine_mm(*here, *north) == pytest.approx(500_000, rel=1e-6)


@given(st.integers(0, 10_000))
def test_every_place_is_on_a_street_between_one_or_two_corners(seed: int) -> None:
    chance = Random(seed)
    corner, address = CITY.any_corner(chance), CITY.any_address(chance)
    assert [CITY.corner_m(each) for each in CITY.nearest_corners(corner)] == [pytest.approx(corner)]
    ends = [CITY.corner_m(each) for each in CITY.nearest_corners(address)]
    assert 1 <= len(ends) <= 2
    assert all(street_distance_m(address, end) <= CITY.block_m + 1e-6 for end in ends)
    assert max(abs(axis) for axis in address) <= CITY.half_m


def test_a_place_off_the_streets_has_no_corners() -> None:
    with pytest.raises(ValueError, match="is on no street"):
        CITY.nearest_corners((30.0, 40.0))


@pytest.mark.parametrize(
    ("moment", "hour"),
    [
        (datetime(2026, 1, 5, 7, 30, tzinfo=UTC), 8.5),  # Monday in winter: UTC + 1
        (datetime(2026, 7, 6, 7, 30, tzinfo=UTC), 9.5),  # Monday in summer: UTC + 2
        (datetime(2026, 7, 5, 21, 59, tzinfo=UTC), 168 - 1 / 60),
        (datetime(2026, 7, 5, 22, 0, tzinfo=UTC), 0.0),
    ],
)
def test_the_local_hour_of_the_week(moment: datetime, hour: float) -> None:
    assert LocalClock(epoch_ms(moment), "Europe/Madrid").hour_of_week(0.0) == pytest.approx(hour)
    an_hour_before = LocalClock(epoch_ms(moment) - 3_600_000, "Europe/Madrid")
    assert an_hour_before.hour_of_week(3_600.0) == pytest.approx(hour)


def test_the_clock_follows_a_change_to_summer_time() -> None:
    clock = LocalClock(epoch_ms(datetime(2026, 3, 29, 0, 30, tzinfo=UTC)), "Europe/Madrid")
    assert clock.hour_of_week(0.0) == pytest.approx(144 + 1.5)
    assert clock.hour_of_week(3_600.0) == pytest.approx(144 + 3.5)


@given(st.floats(0.0, 167.999))
def test_traffic_is_never_faster_than_an_empty_street(hour_of_week: float) -> None:
    assert 0.0 <= rush(hour_of_week) <= 1.0
    assert StreetTraffic(CITY, "1").slowdown((0.0, 0.0), (100.0, 0.0), hour_of_week) >= 1.0


def test_rush_hours_slow_main_streets_more_than_quiet_ones_and_weekends_less() -> None:
    traffic = StreetTraffic(CITY, "1")
    rows = [CITY.corner_m((0, row)) for row in range(CITY.blocks + 1)]
    at_eight = [traffic.slowdown(row, (row[0] + CITY.block_m, row[1]), 8.0) for row in rows]
    at_night = [traffic.slowdown(row, (row[0] + CITY.block_m, row[1]), 2.0) for row in rows]
    assert at_night == [1.0] * len(rows)
    assert max(at_eight) > 1.5
    assert 1.0 < min(at_eight) < 1.3
    assert rush(120.0 + 8.0) < rush(8.0) == max(RUSH_BY_HOUR)
