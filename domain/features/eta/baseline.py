"""The baseline of the ETA: a closed formula whose every constant has a documented origin. docs/eta.md explains it.

Median seconds of a ride over d straight metres at the expected pace p of its cells:

    C + L + ride = (min(1, f ÷ f₀) · learned(d) + max(0, f − f₀) · detour · d) · (p ÷ f)^a · (rider's pace ÷ f)^b · g(v)

f is the pace of the fleet, f₀ that of the vehicles that learned(d) comes from. ln learned(d) is linear in ln d between
knots, and holds the detours and the lights of a city. A slower fleet takes longer for each metre, not at the lights. L
is ``seen_late_s``. g applies to the first ride only: a rider who moves now arrives earlier than one who waits at a
light.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from json import dumps, loads
from math import erf, exp, inf, log, log1p, pi, sqrt
from typing import Any, NamedTuple, Protocol

from domain.features.eta.facts import NO_FACTS, OrderFacts
from domain.features.eta.features import EtaFeatures
from domain.features.eta.quantiles import EtaQuantiles
from domain.features.eta.way import Ride, Way

FORMULA = "3"
"""Changes with every change of the formula: the digest of a model covers it, beside the constants."""


class EtaModel(Protocol):
    """What turns features into seconds. ``digest`` identifies code and constants: it is recorded with each answer.

    Pure: the same arguments give the same seconds for as long as a model has this digest.
    """

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...

    def predict(self, features: EtaFeatures, way: Way, facts: OrderFacts = NO_FACTS) -> EtaQuantiles: ...
    def is_outside_training(self, features: EtaFeatures, way: Way, facts: OrderFacts = NO_FACTS) -> bool: ...


class BaselineConstants(NamedTuple):
    """Seconds, metres and seconds a kilometre; the names are those of ``baseline.json``, which has the origins."""

    reference_pace_s_per_km: float
    usual_pace_s_per_km: float
    """Of a fleet and a rider of whom nothing is known."""
    detour: float
    """Ridden metres ÷ straight metres, for what a fleet is slower than the reference."""
    constant_s: float
    seen_late_s: float
    """How much later than it happened the end of a trip was seen in what the distances were learned from."""
    distance_m: tuple[float, ...]
    """Knots, ascending."""
    log_seconds: tuple[float, ...]
    """ln(C + ride) at the knots, not descending: more distance is never less time."""
    cell_exponent: float
    rider_exponent: float
    log_speed_factor: float
    """Of ln(1 + speed ÷ 1 m/s), for the reference pace."""
    log_speed_unknown: float
    log_speed_mean: float
    """Subtracted from the two, so that a ride that has not begun is as quick as the mean."""
    p90_ratio: tuple[float, ...]
    """The 90 % quantile of (C + truth) ÷ (C + median) at the knots of ``distance_m``; at least 1."""
    at_customer_s: float
    at_customer_p90_s: float
    hand_over_s: float
    hand_over_p90_s: float
    hand_over_left_share: float
    """How much of a hand-over is left at a rider who is at the customer, since it has begun."""
    pick_up_s: float
    pick_up_p90_s: float
    stop_s: float
    pick_up_stop_s: float
    """At the restaurant of another order: its food may have to be waited for, and its customer may be next."""
    assignment_s: float
    free_rider_s: float
    """An order that waits for so long is as likely in a queue as not: where a rider is free, one is assigned sooner."""
    wait_p90_ratio: float
    approach_m: float
    preparation_s: float
    preparation_p90_ratio: float


MIN_FACTOR, MAX_FACTOR = 0.2, 5.0
"""Bounds of p ÷ f and of the rider's pace ÷ f: beyond them a pace is an error of measurement."""

MAX_SPEED_MPS = 40.0
MAX_RECENT_S = 7_200.0
"""Of what recent orders took: one that was forgotten for a day says nothing of the next."""
MAX_PREPARATION_S = 3_600.0
"""Of a longer preparation no more is uncertain: an order that is forgotten for a day has still a finite P90."""

Z90 = 1.2815515655446004
"""The 90 % quantile of the standard normal distribution, in standard deviations."""

MAX_M = 200_000.0
"""A longer ride is no delivery; the bound keeps the exponential finite."""


class Baseline:
    """The documented baseline; pure."""

    name = "baseline"

    def __init__(self, constants: BaselineConstants) -> None:
        """Raises ValueError for constants that would give an ETA that falls with distance, or is below 0."""
        _check(constants)
        self.constants = constants
        code = (FORMULA, MIN_FACTOR, MAX_FACTOR, MAX_SPEED_MPS, MAX_RECENT_S, MAX_PREPARATION_S, MAX_M)
        self.digest = sha256(dumps([code, constants], allow_nan=False).encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> Baseline:
        """The baseline with the constants of a file; its other members say where they come from. Raises ValueError."""
        members: dict[str, Any] = loads(text)["constants"]
        try:
            values: dict[str, Any] = {name: _value(value) for name, value in members.items()}
            return cls(BaselineConstants(**values))
        except TypeError as error:
            raise ValueError(f"the constants of the baseline are incomplete or unknown: {error}") from error

    def without_hand_over(self) -> Baseline:
        """For trips that end at the door and are seen late, as those of the taxis that it was learned from."""
        return Baseline(self.constants._replace(hand_over_s=0.0, hand_over_p90_s=0.0, seen_late_s=0.0))

    def predict(self, features: EtaFeatures, way: Way, facts: OrderFacts = NO_FACTS) -> EtaQuantiles:
        """The seconds until hand-over. Finite for every combination of unknown features. The facts are not used."""
        c = self.constants
        door = (c.hand_over_s, c.hand_over_p90_s - c.hand_over_s)
        if features.leg == "at_customer":
            standing = max(0.0, c.at_customer_s - c.seen_late_s)
            left = c.hand_over_left_share * door[0]
            return _quantiles(standing + left, c.at_customer_p90_s - c.at_customer_s, door[1])
        if features.leg == "to_customer":
            ride = way.to_customer or Ride(features.restaurant_to_customer_m, 0, None)
            p50, spread = self._ride(features, way, ride, moving_now=True)
            return _quantiles(p50 + door[0], spread, door[1])
        ready, preparation_spread = self._until_ready(features, way)
        onward = way.to_customer or Ride(features.restaurant_to_customer_m, 0, None)
        p50, spread = self._ride(features, way, onward, moving_now=False)
        pick_up_spread = c.pick_up_p90_s - c.pick_up_s
        p50 += ready + c.pick_up_s + door[0]
        queued = self._queued(features, way, p50)
        queue_spread = queued * (c.wait_p90_ratio - 1.0)
        return _quantiles(p50 + queued, preparation_spread, pick_up_spread, spread, door[1], queue_spread)

    def is_outside_training(self, features: EtaFeatures, way: Way, facts: OrderFacts = NO_FACTS) -> bool:
        """Whether a ride is longer than any that the constants were learned from."""
        longest = self.constants.distance_m[-1]
        return any(ride is not None and ride.metres > longest for ride in (way.to_restaurant, way.to_customer))

    def _queued(self, features: EtaFeatures, way: Way, p50_s: float) -> float:
        """How much later than ``p50_s`` an order without a rider is: as late as recent orders here were.

        No feature says how many orders wait for a rider. The orders that were finished here have waited in that queue,
        and an order that still has no rider is in it, the more surely the longer it has waited.
        """
        if features.leg != "unassigned" or features.recent_duration_s is None:
            return 0.0
        waited = features.elapsed_in_leg_s
        in_queue = waited / (waited + self.constants.free_rider_s)
        return in_queue * max(0.0, min(features.recent_duration_s, MAX_RECENT_S) - way.since_placed_s - p50_s)

    def _until_ready(self, features: EtaFeatures, way: Way) -> tuple[float, float]:
        """Seconds until rider and order are both at the restaurant, and the spread of the later of the two.

        Food is late at times and early at others, by more the longer it takes, and no event reports it.
        """
        c = self.constants
        left = features.preparation_left_s
        cooking = max(0.0, c.preparation_s - way.since_placed_s) if left is None else left
        whole = min(cooking + way.since_placed_s, MAX_PREPARATION_S)
        arrival = spread = 0.0
        if features.leg != "at_restaurant":
            approach = way.to_restaurant or Ride(features.rider_to_restaurant_m or c.approach_m, 0, None)
            arrival, spread = self._ride(features, way, approach, moving_now=features.leg == "to_restaurant")
        if features.leg == "unassigned":
            arrival += c.assignment_s
        return _later((arrival, spread), (cooking, whole * (c.preparation_p90_ratio - 1.0)))

    def _ride(self, features: EtaFeatures, way: Way, ride: Ride, *, moving_now: bool) -> tuple[float, float]:
        """The median of a ride in seconds, and how much more its 90 % quantile is."""
        c = self.constants
        fleet = way.fleet_pace_s_per_km or features.rider_pace_s_per_km or c.usual_pace_s_per_km
        fleet = min(max(fleet, MIN_FACTOR * c.reference_pace_s_per_km), MAX_FACTOR * c.reference_pace_s_per_km)
        scale, slower = fleet / c.reference_pace_s_per_km, max(0.0, fleet - c.reference_pace_s_per_km)
        metres = min(max(ride.metres, 1.0), MAX_M)
        at = log(metres)
        learned = exp(_interpolated(at, c.distance_m, c.log_seconds, beyond=1.0)) * min(1.0, scale)
        exponent = c.cell_exponent * _log_ratio(ride.pace_s_per_km, fleet)
        exponent += c.rider_exponent * _log_ratio(features.rider_pace_s_per_km, fleet)
        if moving_now:
            # The last speed of a silent rider says nothing of now.
            silent = "rider_silent" in features.because
            exponent += self._log_speed(None if silent else features.rider_speed_mps, scale)
        seconds = (learned + slower * c.detour * metres / 1_000.0) * exp(exponent)
        ratio = _interpolated(at, c.distance_m, c.p90_ratio, beyond=0.0)
        stops = (ride.stops - ride.pick_ups) * c.stop_s + ride.pick_ups * c.pick_up_stop_s
        return max(0.0, seconds - c.constant_s - c.seen_late_s) + stops, seconds * (ratio - 1.0) + 0.5 * stops

    def _log_speed(self, speed_mps: float | None, scale: float) -> float:
        c = self.constants
        if speed_mps is None:
            return c.log_speed_unknown - c.log_speed_mean
        return c.log_speed_factor * log1p(min(max(speed_mps, 0.0), MAX_SPEED_MPS) * scale) - c.log_speed_mean


def _later(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    """Mean and spread (to the 90 % quantile) of the later of two independent normal times, each with its spread.

    C. E. Clark, "The Greatest of a Finite Set of Random Variables", Operations Research 9 (1961).
    """
    (mean_a, var_a), (mean_b, var_b) = ((mean_s, (spread_s / Z90) ** 2) for mean_s, spread_s in (a, b))
    theta = sqrt(var_a + var_b)
    if theta == 0.0:
        return max(mean_a, mean_b), 0.0
    alpha = (mean_a - mean_b) / theta
    density = exp(-alpha * alpha / 2.0) / sqrt(2.0 * pi)
    share_a = (1.0 + erf(alpha / sqrt(2.0))) / 2.0
    share_b = (1.0 + erf(-alpha / sqrt(2.0))) / 2.0
    mean = mean_a * share_a + mean_b * share_b + theta * density
    second = (mean_a**2 + var_a) * share_a + (mean_b**2 + var_b) * share_b + (mean_a + mean_b) * theta * density
    return mean, Z90 * sqrt(max(0.0, second - mean * mean))


def _log_ratio(pace: float | None, fleet: float) -> float:
    """ln(pace ÷ fleet), bounded; 0 if the pace is unknown: then it is that of the fleet."""
    return 0.0 if pace is None else log(min(max(pace / fleet, MIN_FACTOR), MAX_FACTOR))


def _interpolated(at: float, knots_m: Sequence[float], values: Sequence[float], *, beyond: float) -> float:
    """Linear in ln metres between the knots, constant before the first, with the slope ``beyond`` after the last."""
    if at <= log(knots_m[0]):
        return values[0]
    for (low_m, low), (high_m, high) in pairwise(zip(knots_m, values, strict=True)):
        if at <= log(high_m):
            return low + (high - low) * (at - log(low_m)) / (log(high_m) - log(low_m))
    return values[-1] + beyond * (at - log(knots_m[-1]))


def _quantiles(p50_s: float, *spreads_s: float) -> EtaQuantiles:
    """Independent parts: their spreads add as squares."""
    return EtaQuantiles(p50_s, p50_s + sqrt(sum(spread * spread for spread in spreads_s)))


def _value(value: Any) -> float | tuple[float, ...]:
    return tuple(float(each) for each in value) if isinstance(value, list) else float(value)


def _check(c: BaselineConstants) -> None:
    numbers = [each for value in c for each in (value if isinstance(value, tuple) else (value,))]
    if not all(-inf < number < inf for number in numbers):
        raise ValueError("a constant of the baseline is not finite")
    if not len(c.distance_m) == len(c.log_seconds) == len(c.p90_ratio) >= 2:
        raise ValueError("the knots of the baseline and their values differ in number")
    if c.distance_m[0] < 1.0 or any(a >= b for a, b in pairwise(c.distance_m)):
        raise ValueError("the knots of the baseline do not ascend from at least 1 m")
    if any(a > b for a, b in pairwise(c.log_seconds)) or min(c.p90_ratio) < 1.0:
        raise ValueError("the baseline would fall with distance, or its P90 be below its median")
    for median_s, p90_s in (
        (c.hand_over_s, c.hand_over_p90_s),
        (c.pick_up_s, c.pick_up_p90_s),
        (c.at_customer_s, c.at_customer_p90_s),
    ):
        if not 0.0 <= median_s <= p90_s:
            raise ValueError("a hand-over time of the baseline is negative or above its P90")
    seconds = (c.constant_s, c.seen_late_s, c.stop_s, c.pick_up_stop_s, c.assignment_s, c.hand_over_left_share)
    ratios = (c.preparation_p90_ratio - 1.0, c.wait_p90_ratio - 1.0)
    if (
        min(c.reference_pace_s_per_km, c.usual_pace_s_per_km, c.detour, *ratios, *seconds) < 0.0
        or c.free_rider_s <= 0.0
    ):
        raise ValueError("a constant of the baseline is negative")
