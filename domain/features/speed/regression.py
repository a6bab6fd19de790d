"""Computes the velocity by weighted regression of position on time, and the variance of its error."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import NamedTuple

from domain.features.speed.fixes import SpeedFix

MEMORY_S = 8.0
"""The weight of a fix falls by a factor of e in so many seconds. With 10 and more, turns and stops appear late; with 4,
noise hides slow riders."""

CORRELATION_INFLATION = 2.1
"""How much more a slope varies if the errors of consecutive fixes are correlated (AR(1), 0 ≤ ρ ≤ 0.9) than if they are
independent: at most 2.06, for ten fixes at 1 Hz and ρ = 0.7. Without it a parked phone with a drifting error moves."""

MIN_FIXES_TO_WANDER = 6
"""With fewer, some windows of a parked phone have steps so similar by chance that they look like a steady ride."""


class Motion(NamedTuple):
    """Velocity to the east and north in m/s, the variance of either, its age in s, and the weights behind it."""

    east: float
    north: float
    variance: float
    age_s: float
    weights: list[float]


def motion(fixes: Sequence[SpeedFix]) -> Motion | None:
    """The current velocity from fixes in time order; None for fewer than two, or with no time between them."""
    if len(fixes) < 2 or fixes[0].t == fixes[-1].t:
        return None
    weights = [exp(fix.t / MEMORY_S) / fix.variance for fix in fixes]
    mean = sum([w * fix.t for w, fix in zip(weights, fixes, strict=True)]) / sum(weights)
    levers = [w * (fix.t - mean) for w, fix in zip(weights, fixes, strict=True)]
    spread = sum([lever * (fix.t - mean) for lever, fix in zip(levers, fixes, strict=True)])
    # Velocity is linear in the positions: Σ gain · position.
    gains = [lever / spread for lever in levers]
    east = north = accuracy = age = 0.0
    for gain, (_, t, x, y, variance, _) in zip(gains, fixes, strict=True):
        east += gain * x
        north += gain * y
        accuracy += gain * gain * variance
        # The lag is the slope that the regression gives for t²/2, whose slope at t = 0 is 0.
        age -= gain * t * t / 2.0
    bound = CORRELATION_INFLATION * accuracy
    if len(fixes) >= MIN_FIXES_TO_WANDER:
        bound = min(bound, _wander_variance(fixes, gains, east, north))
    return Motion(east, north, bound, age, weights)


def _wander_variance(fixes: Sequence[SpeedFix], gains: Sequence[float], east: float, north: float) -> float:
    """Variance of the velocity if the errors were a random walk, with the residuals of the observed steps as its steps.

    An upper bound for AR(1) errors of any size and ρ: those return to the true position, a random walk does not.
    """
    squares = levers = gain_after = 0.0
    for i in range(len(fixes) - 1, 0, -1):
        _, t0, x0, y0, _, _ = fixes[i - 1]
        _, t1, x1, y1, _, _ = fixes[i]
        dx, dy = x1 - x0 - east * (t1 - t0), y1 - y0 - north * (t1 - t0)
        squares += dx * dx + dy * dy
        gain_after += gains[i]
        levers += gain_after * gain_after
    return levers * squares / (2 * (len(fixes) - 2))
