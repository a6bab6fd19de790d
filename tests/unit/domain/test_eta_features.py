"""The features of an ETA: each by its definition, and None where it is unknown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.eta.city_view import CellOrders
from domain.features.eta.features import EtaFeatures, EtaReading, OrderIsOver, eta_features, eta_reading
from domain.features.eta.way import Stop, visits
from domain.riders.leg import TO_CUSTOMER, TO_RESTAURANT, Leg
from tests.support.eta.given import (
    CUSTOMER,
    NOW_MS,
    RESTAURANT,
    KnownRider,
    SteadyCity,
    north_of_restaurant,
    order,
    rider,
)

CITY = SteadyCity()


def features(of: Any, by: KnownRider | None, city: SteadyCity | None = CITY) -> EtaFeatures:
    return eta_features(of, by, city, NOW_MS, order_id="o-1")


def reading(of: Any, by: KnownRider | None, city: SteadyCity | None = CITY) -> EtaReading:
    return eta_reading(of, by, city, NOW_MS, order_id="o-1")


def test_the_names_are_those_of_the_contract() -> None:
    assert EtaFeatures._fields == (
        "leg",
        "rider_to_restaurant_m",
        "restaurant_to_customer_m",
        "rider_to_customer_m",
        "traffic_index",
        "local_time_of_day_h",
        "local_day_of_week",
        "rider_speed_mps",
        "rider_pace_s_per_km",
        "preparation_left_s",
        "elapsed_in_leg_s",
        "orders_of_rider",
        "open_orders_here",
        "recent_duration_s",
        "recent_lateness_s",
        "because",
    )


def test_a_rider_on_the_way_to_the_restaurant() -> None:
    found = features(order(), rider(-1_000, 5.0))
    assert found.leg == "to_restaurant"
    assert found.rider_to_restaurant_m == pytest.approx(1_000, abs=0.1)
    assert found.restaurant_to_customer_m == pytest.approx(2_000, abs=0.1)
    assert found.rider_to_customer_m == pytest.approx(3_000, abs=0.1)
    assert found.traffic_index == 0.8
    assert found.rider_speed_mps == pytest.approx(5.0, abs=0.1)
    assert found.rider_pace_s_per_km == 250.0
    assert found.preparation_left_s == 300.0
    assert found.elapsed_in_leg_s == 60.0
    assert (found.orders_of_rider, found.open_orders_here) == (1, 3)
    assert (found.recent_duration_s, found.recent_lateness_s) == (1_500.0, -60.0)
    assert found.because == ()


def test_local_time_is_that_of_the_city() -> None:
    # 2026-09-21 15:00 UTC, a Monday.
    assert (features(order(), None).local_time_of_day_h, features(order(), None).local_day_of_week) == (17.0, 0)
    tokyo = features(order(time_zone="Asia/Tokyo"), None)
    assert (tokyo.local_time_of_day_h, tokyo.local_day_of_week) == (0.0, 1)
    unknown = features(order(time_zone="Mars/Olympus"), None)
    assert (unknown.local_time_of_day_h, unknown.local_day_of_week) == (None, None)


def test_once_picked_up_the_restaurant_is_behind() -> None:
    found = features(order("picked_up", preparation_seconds=None), rider(500, 5.0))
    assert (found.leg, found.rider_to_restaurant_m, found.preparation_left_s) == ("to_customer", None, 0.0)
    assert "preparation_unknown" not in found.because


def test_an_order_without_a_rider() -> None:
    found = features(order("placed"), None)
    assert found.leg == "unassigned"
    assert (found.rider_to_restaurant_m, found.rider_to_customer_m, found.rider_speed_mps) == (None, None, None)
    assert (found.rider_pace_s_per_km, found.orders_of_rider) == (None, None)
    assert found.because == ("unassigned",)
    assert reading(order("placed"), None).age_ms is None


@pytest.mark.parametrize(
    ("at_m", "speed_mps", "accuracy_m", "leg"),
    [
        (-39.9, 0.0, 5.0, "at_restaurant"),
        (-40.1, 0.0, 5.0, "to_restaurant"),
        (-59.9, 0.0, 40.0, "at_restaurant"),
        (-60.1, 0.0, 40.0, "to_restaurant"),
        (-10.0, 6.0, 5.0, "to_restaurant"),
    ],
    ids=["within 40 m", "beyond", "within 1.5 × accuracy", "beyond that", "riding past"],
)
def test_a_rider_is_at_the_restaurant(at_m: float, speed_mps: float, accuracy_m: float, leg: str) -> None:
    assert features(order(), rider(at_m, speed_mps, accuracy_m=accuracy_m)).leg == leg


def test_a_rider_whose_speed_is_unknown_is_at_the_target() -> None:
    one_ping = rider(1_990, 6.0)
    found = features(order("picked_up"), one_ping._replace(window=one_ping.window[-1:]))
    assert (found.leg, found.rider_speed_mps, found.because) == ("at_customer", None, ("speed_unknown",))


def test_an_order_that_arrived_is_at_the_customer_wherever_the_rider_is() -> None:
    assert features(order("arrived"), rider(0, 6.0)).leg == "at_customer"
    assert features(order("arrived"), None).leg == "at_customer"


def test_a_silent_rider_keeps_location_and_speed_as_the_speed_query_does() -> None:
    found = features(order(), rider(-1_000, 5.0, age_s=30.001))
    assert found.because == ("rider_silent",)
    assert found.rider_speed_mps == pytest.approx(5.0, abs=0.1)
    assert found.rider_to_restaurant_m == pytest.approx(1_000, abs=0.1)
    assert features(order(), rider(-1_000, 5.0, age_s=30)).because == ()
    assert reading(order(), rider(-1_000, 5.0, age_s=121)).age_ms == 121_000


def test_an_expired_location_and_speed_are_unknown() -> None:
    found = features(order(), rider(-1_000, 5.0, age_s=7_201))
    assert (found.rider_to_restaurant_m, found.rider_to_customer_m, found.rider_speed_mps) == (None, None, None)
    assert found.because == ("rider_silent", "speed_unknown")
    assert found.restaurant_to_customer_m == pytest.approx(2_000, abs=0.1)


def test_a_rider_without_pings() -> None:
    found = reading(order(), rider(None))
    assert (found.features.leg, found.features.rider_to_restaurant_m) == ("to_restaurant", None)
    assert (found.features.orders_of_rider, found.age_ms) == (1, None)
    assert found.features.because == ("rider_silent", "speed_unknown")


def test_without_a_city_its_features_are_unknown() -> None:
    found = features(order(), rider(-1_000, 5.0), None)
    assert (found.traffic_index, found.open_orders_here) == (None, None)
    assert (found.recent_duration_s, found.recent_lateness_s) == (None, None)
    assert found.because == ("traffic_unknown", "city_stale")
    unknown = SteadyCity(None, None, orders=CellOrders(0, None, None))
    assert features(order(), rider(-1_000, 5.0), unknown).because == ("traffic_unknown",)
    old = SteadyCity(as_of_ms=NOW_MS - 60_001)
    assert features(order(), rider(-1_000, 5.0), old).because == ("city_stale",)


def test_preparation_reassignment_and_stacks_are_named() -> None:
    other = Leg("o-2", TO_CUSTOMER, *north_of_restaurant(500))
    stacked = rider(-1_000, 5.0, legs=[Leg("o-1", TO_RESTAURANT, *RESTAURANT), other])
    found = features(order(preparation_seconds=None, assignments=2), stacked)
    assert found.because == ("preparation_unknown", "reassigned", "stacked")
    assert (found.preparation_left_s, found.orders_of_rider) == (None, 2)
    assert features(order(preparation_seconds=60), stacked).preparation_left_s == 0.0


def test_an_order_that_is_over_has_no_eta() -> None:
    for status in ("completed", "cancelled", ""):
        with pytest.raises(OrderIsOver):
            features(order(status), None)


# The way


def test_the_way_to_the_restaurant_and_on() -> None:
    way = reading(order(), rider(-1_000, 5.0)).way
    assert way.to_restaurant is not None
    assert way.to_customer is not None
    assert (way.to_restaurant.stops, way.to_customer.stops) == (0, 0)
    assert way.to_restaurant.metres == pytest.approx(1_000, abs=0.1)
    assert way.to_customer.metres == pytest.approx(2_000, abs=0.1)
    assert (way.to_restaurant.pace_s_per_km, way.fleet_pace_s_per_km) == (200.0, 200.0)
    assert reading(order(), rider(-1_000, 5.0), None).way.to_customer == way.to_customer._replace(pace_s_per_km=None)


def test_the_nearest_open_target_is_next() -> None:
    # Another customer 500 m on the way, and one behind the rider: nearer than the own customer, 1,500 m ahead.
    legs = [Leg("o-2", TO_CUSTOMER, *north_of_restaurant(1_000)), Leg("o-3", TO_CUSTOMER, *north_of_restaurant(300))]
    way = reading(order("picked_up"), rider(500, 5.0, legs=legs)).way
    assert way.to_customer is not None
    assert way.to_customer.stops == 2
    assert way.to_customer.metres == pytest.approx(200 + 700 + 1_000, abs=0.5)


def test_a_stop_before_the_restaurant_is_no_stop_after_it() -> None:
    near = Leg("o-2", TO_CUSTOMER, *north_of_restaurant(-800))
    far = Leg("o-3", TO_CUSTOMER, *north_of_restaurant(1_000))
    way = reading(order(), rider(-1_000, 5.0, legs=[near, far])).way
    assert way.to_restaurant is not None
    assert way.to_customer is not None
    assert (way.to_restaurant.stops, way.to_customer.stops) == (1, 1)
    assert (way.to_restaurant.pick_ups, way.to_customer.pick_ups) == (0, 0)


def test_a_stop_at_the_restaurant_of_another_order_is_a_pick_up() -> None:
    legs = [Leg("o-2", TO_RESTAURANT, *north_of_restaurant(-800)), Leg("o-3", TO_CUSTOMER, *north_of_restaurant(1_000))]
    way = reading(order(), rider(-1_000, 5.0, legs=legs)).way
    assert way.to_restaurant is not None
    assert way.to_customer is not None
    assert (way.to_restaurant.pick_ups, way.to_customer.pick_ups) == (1, 0)


@pytest.mark.parametrize("status", ["placed", "assigned", "picked_up", "arrived"])
def test_the_way_says_how_long_ago_the_order_was_placed(status: str) -> None:
    """A step resets ``elapsed_in_leg_s``, and not this."""
    assert reading(order(status), None).way.since_placed_s == 600.0
    assert reading(order(status, placed_ms=NOW_MS + 5), None).way.since_placed_s == 0.0


def test_ties_go_to_the_lower_order_id() -> None:
    target = north_of_restaurant(100)
    assert visits(RESTAURANT, "b", target, [Stop("a", target)])[0].places == [RESTAURANT, target, target]
    assert visits(RESTAURANT, "b", target, [Stop("c", target)])[0].places == [RESTAURANT, target]
    two = [Stop("d", target), Stop("c", target)]
    assert visits(RESTAURANT, "z", CUSTOMER, two)[0].places == [RESTAURANT, target, target, CUSTOMER]


places = st.integers(-3_000, 3_000).map(north_of_restaurant)


@given(st.lists(places, max_size=19), places, places, st.randoms(use_true_random=False))
def test_the_order_of_the_legs_does_not_matter(
    targets: Sequence[tuple[float, float]], start: tuple[float, float], target: tuple[float, float], chance: Any
) -> None:
    stops = [Stop(f"o-{n:02}", place, is_pick_up=n % 2 == 0) for n, place in enumerate(targets)]
    shuffled = stops.copy()
    chance.shuffle(shuffled)
    path, left = visits(start, "o-5x", target, stops)
    assert visits(start, "o-5x", target, shuffled) == (path, left)
    assert (path.places[0], path.places[-1], len(path.places) - 2 + len(left)) == (start, target, len(stops))
    assert path.pick_ups + sum(stop.is_pick_up for stop in left) == (len(stops) + 1) // 2


def test_every_number_is_finite_over_the_antimeridian() -> None:
    fiji = order("picked_up", restaurant=(-17.0, 179.99), customer=(-17.0, -179.99))
    found = reading(fiji, None)
    assert found.features.restaurant_to_customer_m == pytest.approx(2_127, abs=2)
    assert math.isfinite(found.features.restaurant_to_customer_m)
