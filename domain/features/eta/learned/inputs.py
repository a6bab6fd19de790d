"""The inputs of a learned ETA: numbers that are made from features, way, facts and the baseline, NaN where unknown.

Training, evaluation and serving call the same function, a row at a time. A new input is appended: models that were
trained before name their inputs, and go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log, nan
from typing import Final

from domain.features.eta.facts import OrderFacts
from domain.features.eta.features import EtaFeatures
from domain.features.eta.quantiles import EtaQuantiles
from domain.features.eta.way import Ride, Way
from domain.features.outcomes.sums import place_id

SHIFT_S: Final = 60.0
"""Added to seconds before a logarithm: an error of a minute counts alike for arrivals in one minute and in none."""

LEG_NUMBERS: Final = {
    "unassigned": 0.0,
    "to_restaurant": 1.0,
    "at_restaurant": 2.0,
    "to_customer": 3.0,
    "at_customer": 4.0,
}

INPUTS: Final = (
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
    "to_restaurant_way_m",
    "to_restaurant_way_stops",
    "to_restaurant_way_pace_s_per_km",
    "to_restaurant_way_pick_ups",
    "to_customer_way_m",
    "to_customer_way_stops",
    "to_customer_way_pace_s_per_km",
    "to_customer_way_pick_ups",
    "fleet_pace_s_per_km",
    "since_placed_s",
    "promised_left_s",
    "promised_seconds",
    "items",
    "city",
    "restaurant_latitude",
    "restaurant_longitude",
    "customer_latitude",
    "customer_longitude",
    "rider_silent",
    "reassigned",
    "baseline_log",
    "baseline_spread",
    "promise_to_baseline",
    "restaurant_effect_log",
)
"""Names in the order of ``input_values``. The last four: ln(P50 + 60 s) of the baseline, ln of its P90 to its P50, ln
of what is left of the promise to its P50, each with 60 s added, and what the model's table says of the restaurant."""

RESTAURANT_EFFECT: Final = "restaurant_effect_log"

PROMISE_INPUTS: Final = ("promised_left_s", "promised_seconds", "promise_to_baseline")
"""What a model is trained without if it must not know the promise."""

NO_PLACES: Final[Mapping[str, float]] = {}

NUMBER_OF: Final = {name: number for number, name in enumerate(INPUTS)}


def log_shifted(seconds: float) -> float:
    """ln(seconds + 60 s); negative seconds count as 0."""
    return log(max(seconds, 0.0) + SHIFT_S)


def input_values(
    features: EtaFeatures,
    way: Way,
    facts: OrderFacts,
    baseline: EtaQuantiles,
    cities: Mapping[str, int],
    places: Mapping[str, float] = NO_PLACES,
) -> list[float]:
    """The values of ``INPUTS``. ``cities``: numbers of the cities of the training set; another city is unknown.

    ``places``: effects of restaurants by place; one that is not in it has the effect 0, the mean of all.
    """
    to_restaurant, to_customer = way.to_restaurant, way.to_customer
    promised_left, because = facts.promised_left_s, features.because
    base = log_shifted(baseline.p50_s)
    return [
        LEG_NUMBERS[features.leg],
        _number(features.rider_to_restaurant_m),
        features.restaurant_to_customer_m,
        _number(features.rider_to_customer_m),
        _number(features.traffic_index),
        _number(features.local_time_of_day_h),
        _number(features.local_day_of_week),
        _number(features.rider_speed_mps),
        _number(features.rider_pace_s_per_km),
        _number(features.preparation_left_s),
        features.elapsed_in_leg_s,
        _number(features.orders_of_rider),
        _number(features.open_orders_here),
        _number(features.recent_duration_s),
        _number(features.recent_lateness_s),
        *_ride(to_restaurant),
        *_ride(to_customer),
        _number(way.fleet_pace_s_per_km),
        way.since_placed_s,
        _number(promised_left),
        _number(facts.promised_seconds),
        _number(facts.items),
        float(cities.get(facts.city, nan)),
        *((nan, nan) if facts.restaurant is None else facts.restaurant),
        *((nan, nan) if facts.customer is None else facts.customer),
        1.0 if "rider_silent" in because else 0.0,
        1.0 if "reassigned" in because else 0.0,
        base,
        log_shifted(baseline.p90_s) - base,
        nan if promised_left is None else log_shifted(promised_left) - base,
        places.get(place_id(*facts.restaurant), 0.0) if places and facts.restaurant is not None else 0.0,
    ]


def _number(value: float | None) -> float:
    return nan if value is None else float(value)


def _ride(ride: Ride | None) -> tuple[float, float, float, float]:
    if ride is None:
        return nan, nan, nan, nan
    return ride.metres, float(ride.stops), _number(ride.pace_s_per_km), float(ride.pick_ups)
