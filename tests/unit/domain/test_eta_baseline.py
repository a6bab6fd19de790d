"""The baseline of the ETA: never negative, monotone in distance, finite whatever is unknown, P90 ≥ median."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.eta.baseline import MAX_RECENT_S, Baseline
from domain.features.eta.city_view import CellOrders
from domain.features.eta.estimate import estimate
from domain.features.eta.features import EtaFeatures, LegName, eta_reading
from domain.features.eta.packaged import PATH, packaged_baseline
from domain.features.eta.quantiles import EtaQuantiles
from domain.features.eta.way import Ride, Way
from domain.riders.leg import TO_CUSTOMER, TO_RESTAURANT, Leg
from tests.support.eta.given import NOW_MS, KnownRider, SteadyCity, north_of_restaurant, order, rider

MODEL = packaged_baseline()
LEGS: list[LegName] = ["unassigned", "to_restaurant", "at_restaurant", "to_customer", "at_customer"]
CITY = SteadyCity()


def predicted(of: Any, by: KnownRider | None, city: SteadyCity | None = CITY) -> EtaQuantiles:
    reading = eta_reading(of, by, city, NOW_MS, order_id="o-1")
    return MODEL.predict(reading.features, reading.way)


# Examples


def test_the_eta_falls_along_a_delivery() -> None:
    answers = [
        predicted(order("placed"), None),
        predicted(order(preparation_seconds=300), rider(-1_000, 5.0)),
        predicted(order(preparation_seconds=300), rider(0, 0.0)),
        predicted(order("picked_up"), rider(100, 5.0)),
        predicted(order("picked_up"), rider(1_000, 5.0)),
        predicted(order("picked_up"), rider(1_900, 5.0)),
        predicted(order("arrived"), rider(2_000, 0.0)),
    ]
    medians = [answer.p50_s for answer in answers]
    assert medians == sorted(medians, reverse=True)
    assert 0.0 < medians[-1] < 180.0


def test_an_order_that_cooks_longer_than_the_rider_rides_waits_for_it() -> None:
    ready, cooking = order(preparation_seconds=0), order(preparation_seconds=3_600)
    assert predicted(cooking, rider(-1_000, 5.0)).p50_s - predicted(ready, rider(-1_000, 5.0)).p50_s > 2_000
    waiting = predicted(order(preparation_seconds=7_200), rider(-1_000, 5.0)).p50_s
    assert waiting == pytest.approx(predicted(order(preparation_seconds=7_200), rider(-500, 5.0)).p50_s, abs=1.0)


def test_an_assignment_takes_no_second_off_a_preparation_that_is_unknown() -> None:
    """It was counted from the order's latest step, so the ETA jumped up at each one."""
    unknown: dict[str, Any] = {"preparation_seconds": None, "placed_ms": NOW_MS - 300_000}
    answers = [
        predicted(order(latest_step_ms=NOW_MS - ago_ms, **unknown), rider(-200, 0.0)).p50_s for ago_ms in (290_000, 0)
    ]
    assert answers[0] == answers[1]
    later: dict[str, Any] = {**unknown, "placed_ms": NOW_MS - 400_000}
    assert predicted(order(latest_step_ms=NOW_MS, **later), rider(-200, 0.0)).p50_s < answers[0]


def test_food_that_is_due_may_still_be_late() -> None:
    due = predicted(order(preparation_seconds=600), rider(0, 0.0))
    picked_up = predicted(order("picked_up"), rider(0, 0.0))
    assert due.p50_s - picked_up.p50_s > MODEL.constants.pick_up_s + 30
    assert due.p90_s - due.p50_s > picked_up.p90_s - picked_up.p50_s


def test_a_fleet_that_is_twice_as_slow_does_not_wait_twice_at_the_lights() -> None:
    """The distances were learned from cars: all of their time was once stretched to the pace of bicycles."""
    reference = MODEL.constants.reference_pace_s_per_km
    quick, slow = (
        predicted(order("picked_up"), rider(1_000, 5.0), SteadyCity(p)).p50_s for p in (reference, 2 * reference)
    )
    metres_alone = reference * MODEL.constants.detour
    assert quick + 0.5 * metres_alone < slow < quick + 1.2 * metres_alone


def test_nothing_known_of_any_pace_is_a_usual_rider_and_no_car() -> None:
    unknown = predicted(order("picked_up"), None, None)
    known = predicted(order("picked_up"), None, SteadyCity(MODEL.constants.usual_pace_s_per_km))
    assert unknown.p50_s == pytest.approx(known.p50_s)


def test_the_pick_up_of_another_order_takes_longer_than_a_hand_over() -> None:
    at = north_of_restaurant(1_000)
    two = [[Leg("o-2", kind, *at)] for kind in (TO_RESTAURANT, TO_CUSTOMER)]
    pick_up, hand_over = (predicted(order("picked_up"), rider(500, 5.0, legs=legs)).p50_s for legs in two)
    assert pick_up - hand_over == pytest.approx(MODEL.constants.pick_up_stop_s - MODEL.constants.stop_s)


def test_a_red_light_costs_little() -> None:
    moving, waiting = (predicted(order("picked_up"), rider(500, speed)).p50_s for speed in (6.0, 0.0))
    assert moving < waiting < 1.5 * moving


def test_the_last_speed_of_a_silent_rider_says_nothing_of_now() -> None:
    silent = [predicted(order("picked_up"), rider(500, speed, age_s=60)).p50_s for speed in (6.0, 0.0)]
    assert silent[0] == silent[1]


def test_slow_streets_take_longer() -> None:
    free = predicted(order("picked_up"), rider(500, 5.0), SteadyCity(150.0))
    slow = predicted(order("picked_up"), rider(500, 5.0), SteadyCity(300.0))
    assert slow.p50_s > 1.3 * free.p50_s


def test_a_stop_for_another_order_takes_time() -> None:
    legs = [Leg("o-2", TO_CUSTOMER, *north_of_restaurant(1_000))]
    alone, stacked = rider(500, 5.0), rider(500, 5.0, legs=legs)
    assert predicted(order("picked_up"), stacked).p50_s > predicted(order("picked_up"), alone).p50_s + 60


def test_without_hand_over_the_trip_ends_at_the_door() -> None:
    reading = eta_reading(order("picked_up"), rider(500, 5.0), CITY, NOW_MS, order_id="o-1")
    door = MODEL.without_hand_over().predict(reading.features, reading.way)
    whole = MODEL.predict(reading.features, reading.way)
    c = MODEL.constants
    assert whole.p50_s - door.p50_s == pytest.approx(c.hand_over_s - c.seen_late_s)


def test_a_ride_beyond_the_longest_that_was_learned_from_is_named() -> None:
    far = order("picked_up", customer=north_of_restaurant(60_000))
    assert "outside_training" in estimate(far, rider(0, 5.0), CITY, NOW_MS, MODEL, order_id="o-1").because
    assert "outside_training" not in estimate(order(), rider(0, 5.0), CITY, NOW_MS, MODEL, order_id="o-1").because


def waiting(recent_s: float | None, waited_s: float) -> EtaQuantiles:
    """The answer for an order that has waited so long, where recent orders took ``recent_s``."""
    since = NOW_MS - round(waited_s * 1_000)
    of = order("placed", placed_ms=since, latest_step_ms=since, preparation_seconds=300)
    return predicted(of, None, SteadyCity(orders=CellOrders(3, recent_s, None)))


def test_an_order_that_waits_for_a_rider_takes_as_long_as_recent_orders_here() -> None:
    """Without it, a city that was short of riders was later than its ETA for as long as the order waited."""
    for waited_s in (300, 600, 1_200):
        assert waiting(3_600.0, waited_s).p50_s == pytest.approx(3_600 - waited_s, rel=0.1)
    assert (
        waiting(3_600.0, 300).p90_s - waiting(3_600.0, 300).p50_s > waiting(None, 300).p90_s - waiting(None, 300).p50_s
    )


def test_recent_orders_say_little_of_an_order_that_has_just_been_placed() -> None:
    assert waiting(3_600.0, 0) == waiting(None, 0)
    assert waiting(3_600.0, 5).p50_s < 0.25 * 3_600 + waiting(None, 5).p50_s


@pytest.mark.parametrize("recent_s", [60.0, None])
def test_quick_recent_orders_take_no_second_off(recent_s: float | None) -> None:
    assert waiting(recent_s, 600) == waiting(None, 600)


def test_an_order_that_was_forgotten_for_days_says_nothing_of_the_next() -> None:
    assert waiting(500_000.0, 600) == waiting(MAX_RECENT_S, 600)


def test_an_order_with_a_rider_is_in_no_queue() -> None:
    slow, quick = (SteadyCity(orders=CellOrders(3, recent_s, None)) for recent_s in (7_200.0, 60.0))
    assert predicted(order(), rider(-1_000, 5.0), slow) == predicted(order(), rider(-1_000, 5.0), quick)


def test_an_answer_has_whole_seconds_of_the_median() -> None:
    found = estimate(order(), rider(-1_000, 5.0), CITY, NOW_MS, MODEL, order_id="o-1")
    assert found.eta_seconds == round(found.p50_seconds)
    assert (found.model_name, found.model_digest) == ("baseline", MODEL.digest)


# The constants


def test_the_file_says_where_its_constants_come_from() -> None:
    members = json.loads(PATH.read_text(encoding="utf-8"))
    assert {"learned", "chosen", "estimated", "assumed", "samples"} <= members["origin"].keys()
    named = " ".join(members["origin"].values())
    assert "CRAWDAD" in named
    for name in members["constants"]:
        assert any(part in named for part in (name, name.rsplit("_", 3)[0], name.split("_")[0]))


def test_another_constant_is_another_digest() -> None:
    assert Baseline(MODEL.constants).digest == MODEL.digest
    changed = MODEL.constants._replace(stop_s=MODEL.constants.stop_s + 1)
    assert Baseline(changed).digest != MODEL.digest
    assert len(MODEL.digest) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"log_seconds": tuple(reversed(MODEL.constants.log_seconds))},
        {"p90_ratio": tuple(0.9 for _ in MODEL.constants.p90_ratio)},
        {"distance_m": MODEL.constants.distance_m[:-1]},
        {"distance_m": tuple(reversed(MODEL.constants.distance_m))},
        {"cell_exponent": math.nan},
        {"hand_over_s": -1.0},
        {"pick_up_p90_s": 0.0},
        {"stop_s": -1.0},
        {"detour": -1.0},
        {"pick_up_stop_s": -1.0},
        {"free_rider_s": 0.0},
        {"wait_p90_ratio": 0.9},
    ],
    ids=lambda change: next(iter(change)),
)
def test_constants_that_contradict_the_promises_are_rejected(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="baseline"):
        Baseline(MODEL.constants._replace(**change))


def test_a_file_without_a_constant_is_rejected() -> None:
    members = json.loads(PATH.read_text(encoding="utf-8"))
    del members["constants"]["stop_s"]
    with pytest.raises(ValueError, match="stop_s"):
        Baseline.from_json(json.dumps(members))


# Properties


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


metres = st.floats(0, 60_000)
paces = st.floats(1, 5_000)
rides = st.integers(0, 19).flatmap(
    lambda stops: st.builds(Ride, metres, st.just(stops), maybe(paces), st.integers(0, stops))
)
ways = st.builds(Way, maybe(rides), maybe(rides), maybe(paces), st.floats(0, 86_400))
vectors = st.builds(
    EtaFeatures,
    st.sampled_from(LEGS),
    maybe(metres),
    metres,
    maybe(metres),
    maybe(st.floats(0.01, 10)),
    maybe(st.floats(0, 23.9999)),
    maybe(st.integers(0, 6)),
    maybe(st.floats(0, 60)),
    maybe(paces),
    maybe(st.floats(0, 7_200)),
    st.floats(0, 86_400),
    maybe(st.integers(1, 20)),
    maybe(st.integers(0, 500)),
    maybe(st.floats(0, 7_200)),
    maybe(st.floats(-3_600, 7_200)),
    st.just(()),
)


@given(vectors, ways)
def test_it_is_finite_and_ordered_whatever_is_unknown(features: EtaFeatures, way: Way) -> None:
    found = MODEL.predict(features, way)
    assert 0.0 <= found.p50_s <= found.p90_s
    assert math.isfinite(found.p90_s)
    assert MODEL.predict(features, way) == found


@given(vectors, rides, metres, st.sampled_from(["to_restaurant", "to_customer"]), ways)
def test_more_distance_is_never_less_time(
    features: EtaFeatures, ride: Ride, further_m: float, part: str, way: Way
) -> None:
    near: Any = {part: ride}
    far: Any = {part: ride._replace(metres=ride.metres + further_m)}
    nearer = MODEL.predict(features, way._replace(**near)).p50_s
    assert nearer <= MODEL.predict(features, way._replace(**far)).p50_s + 1e-9


@given(vectors, ways, st.floats(0, 7_200))
def test_slower_recent_orders_are_never_less_time(features: EtaFeatures, way: Way, slower_s: float) -> None:
    slow = (features.recent_duration_s or 0.0) + slower_s
    assert (
        MODEL.predict(features, way).p50_s <= MODEL.predict(features._replace(recent_duration_s=slow), way).p50_s + 1e-9
    )


@given(vectors, rides, paces, ways)
def test_slower_cells_are_never_less_time(features: EtaFeatures, ride: Ride, slower: float, way: Way) -> None:
    pace = ride.pace_s_per_km or 200.0
    quick, slow = (way._replace(to_customer=ride._replace(pace_s_per_km=each)) for each in (pace, pace + slower))
    assert MODEL.predict(features, quick).p50_s <= MODEL.predict(features, slow).p50_s + 1e-9
