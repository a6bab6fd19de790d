"""Learns the constants of the ETA's baseline from samples of real trips, by least absolute relative error.

The logarithm of the formula is linear in its constants, so each round of iteratively reweighted least squares is one
linear system (E. J. Schlossmacher, "An Iterative Technique for Absolute Deviations Curve Fitting", JASA 68, 1973).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.eta_walk import Sample
from domain.features.eta.baseline import BaselineConstants

Array = NDArray[np.float64]

KNOTS_M = (10.0, 60.0, 125.0, 250.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0, 16_000.0, 32_000.0)
ROUNDS = 6


class Choice(NamedTuple):
    """The constants that the fit is not linear in: they are chosen by trying them."""

    constant_s: float
    rider_exponent: float


CHOICES = tuple(Choice(constant_s, exponent) for constant_s in (5.0, 15.0, 30.0, 60.0) for exponent in (0.0, 0.05, 0.1))
CHOSEN = Choice(5.0, 0.0)
"""Of CHOICES the one with the lowest MAE on one half of the taxis: ``eta_real_trips --halves`` shows the other half."""

ASSUMED: dict[str, Any] = {
    "usual_pace_s_per_km": 240.0,
    "detour": 1.27,
    "seen_late_s": 30.0,
    "hand_over_s": 90.0,
    "hand_over_p90_s": 180.0,
    "hand_over_left_share": 0.75,
    "pick_up_s": 60.0,
    "pick_up_p90_s": 180.0,
    "stop_s": 120.0,
    "pick_up_stop_s": 300.0,
    "assignment_s": 120.0,
    "free_rider_s": 30.0,
    "wait_p90_ratio": 2.0,
    "approach_m": 1_500.0,
    "preparation_s": 900.0,
    "preparation_p90_ratio": 1.6,
}
"""Taxis say nothing of these. They are assumptions until deliveries of one's own are there to learn from."""


class _Columns(NamedTuple):
    true_s: Array
    metres: Array
    fleet: Array
    cell_ratio: Array
    rider_ratio: Array
    speed: Array
    at_customer: Array
    """1 or 0."""


def fit(samples: Sequence[Sample], choice: Choice = CHOSEN) -> BaselineConstants:
    """The constants for these samples. Those of ``choice`` and of ASSUMED are not learned."""
    c = _columns(samples)
    riding = _rows(c, c.at_customer == 0.0)
    reference = float(np.median(riding.fleet))
    scale = np.log(riding.fleet / reference)
    known = np.isfinite(riding.speed)
    moving = np.where(known, np.log1p(np.where(known, riding.speed, 0.0) * riding.fleet / reference), 0.0)
    design = np.column_stack([_hats(riding.metres), riding.cell_ratio, moving, ~known])
    fixed = scale + choice.rider_exponent * riding.rider_ratio
    found = _least_absolute(design, np.log(riding.true_s + choice.constant_s) - fixed)
    knots = len(KNOTS_M)
    cell, speed_factor, speed_unknown = (float(value) for value in found[knots:])
    speed_mean = float(np.mean(np.where(known, speed_factor * moving, speed_unknown)))
    # The speed terms are served around their mean, so the mean belongs to the distance.
    log_seconds = np.maximum.accumulate(found[:knots] + speed_mean)
    fitted = np.exp(design @ found + fixed)
    ratio = (riding.true_s + choice.constant_s) / fitted
    standing = c.true_s[c.at_customer == 1.0]
    rounded: dict[str, Any] = {
        "reference_pace_s_per_km": round(reference, 1),
        "constant_s": choice.constant_s,
        "rider_exponent": choice.rider_exponent,
        "distance_m": KNOTS_M,
        "log_seconds": tuple(round(float(value), 4) for value in log_seconds),
        "cell_exponent": round(cell, 4),
        "log_speed_factor": round(speed_factor, 4),
        "log_speed_unknown": round(speed_unknown, 4),
        "log_speed_mean": round(speed_mean, 4),
        "p90_ratio": tuple(max(1.0, round(value, 4)) for value in _quantiles_at_knots(riding.metres, ratio, 0.9)),
        "at_customer_s": round(float(np.median(standing)), 1) if len(standing) else 0.0,
        "at_customer_p90_s": round(float(np.quantile(standing, 0.9)), 1) if len(standing) else 0.0,
    }
    return BaselineConstants(**rounded, **ASSUMED)


def choose(samples: Sequence[Sample], score: Callable[[BaselineConstants], float]) -> Choice:
    """Of CHOICES the one whose fitted constants have the lowest score."""
    return min(CHOICES, key=lambda choice: score(fit(samples, choice)))


def _columns(samples: Sequence[Sample]) -> _Columns:
    rows = [_row(sample) for sample in samples]
    return _Columns(*np.array(rows, dtype=np.float64).T)


def _row(sample: Sample) -> tuple[float, ...]:
    features, way = sample.reading.features, sample.reading.way
    ride = way.to_customer
    fleet = way.fleet_pace_s_per_km or np.nan
    return (
        sample.true_s,
        ride.metres if ride else np.nan,
        fleet,
        np.log(ride.pace_s_per_km / fleet) if ride and ride.pace_s_per_km else 0.0,
        np.log(features.rider_pace_s_per_km / fleet) if features.rider_pace_s_per_km else 0.0,
        np.nan if features.rider_speed_mps is None else features.rider_speed_mps,
        float(features.leg == "at_customer"),
    )


def _rows(columns: _Columns, which: NDArray[np.bool_]) -> _Columns:
    usable = which & np.isfinite(columns.metres) & np.isfinite(columns.fleet) & (columns.true_s >= 0)
    return _Columns(*(column[usable] for column in columns))


def _hats(metres: Array) -> Array:
    """The share of each knot in a distance: linear in ln metres between two knots."""
    at, knots = np.log(np.maximum(metres, 1.0)), np.log(KNOTS_M)
    at = np.clip(at, knots[0], knots[-1])
    low = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2)
    share = (at - knots[low]) / (knots[low + 1] - knots[low])
    hats: Array = np.zeros((len(at), len(knots)))
    rows = np.arange(len(at))
    hats[rows, low], hats[rows, low + 1] = 1.0 - share, share
    return hats


def _least_absolute(design: Array, target: Array) -> Array:
    """Least absolute error in seconds: a logarithm's error times the seconds that it stands for."""
    weights = np.ones(len(target), dtype=np.float64)
    found: Array = np.zeros(design.shape[1])
    # A knot that no sample is near would make the system singular.
    ridge = 0.01 * np.eye(design.shape[1])
    for _ in range(ROUNDS):
        weighted = design * weights[:, None]
        found = np.asarray(np.linalg.solve(weighted.T @ design + ridge, weighted.T @ target), dtype=np.float64)
        predicted = design @ found
        weights = (np.exp(predicted) / np.maximum(np.abs(predicted - target), 0.02)).astype(np.float64)
        weights = weights / float(weights.mean())
    return found


def _quantiles_at_knots(metres: Array, ratio: Array, share: float) -> list[float]:
    """The quantile of the ratio among the samples nearest to each knot; of all where they are fewer than 50."""
    nearest = np.argmax(_hats(metres), axis=1)
    overall = float(np.quantile(ratio, share))
    found = [ratio[nearest == knot] for knot in range(len(KNOTS_M))]
    return [float(np.quantile(each, share)) if len(each) >= 50 else overall for each in found]
