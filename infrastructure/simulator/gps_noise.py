"""GPS noise: position errors that are correlated in time, and the accuracy that a phone claims for them.

Errors of a stationary receiver are not white; an Ornstein-Uhlenbeck or autoregressive process describes them better
("Comparison of Enhanced Noise Model Performance Based on Analysis of Civilian GPS Data", Sensors 2020, 20(21), 6050,
doi:10.3390/s20216050). Here each axis is a process of first order, sampled exactly at any interval:
e' = ρ·e + √(1 − ρ²)·w, ρ = exp(−Δt/τ), w standard normal.
"""

from __future__ import annotations

from math import exp, log, sqrt
from random import Random
from typing import NamedTuple

RADIUS_68 = sqrt(-2.0 * log(1.0 - 0.68))
"""Radius of the circle that holds 68 % of a circular two-dimensional normal, in σ of one axis (Rayleigh): 1.5096.

Android's ``Location.getAccuracy`` is the radius of 68 % confidence, so σ = accuracy / RADIUS_68.
"""


class NoiseModel(NamedTuple):
    """The errors of a phone. The defaults are measured on 41,945 fixes of MobilityNet (two Android phones, one iPhone).

    ``accuracy_m``: the median claimed accuracy (Android: 7.8 m). ``accuracy_spread``: standard deviation of its
    logarithm between and within phones, in streets; the whole data set has 1.3, including cached fixes and basements.
    ``correlation_s``: τ of the position error; phones at rest have a lag-1 correlation of 0.89 at 1 s after the mean
    of each short rest is subtracted, which gives τ ≥ 9 s. ``accuracy_correlation_s``: τ of the claimed accuracy,
    whose logarithm has a lag-1 correlation of 0.974 at 1 s. ``speed_sigma_mps``: error of the Doppler speed.
    """

    accuracy_m: float = 8.0
    accuracy_spread: float = 0.4
    correlation_s: float = 20.0
    accuracy_correlation_s: float = 38.0
    speed_sigma_mps: float = 0.2


class FixError(NamedTuple):
    """The error of one fix in metres east and north, and the accuracy that the phone claims (68 % radius, metres)."""

    east_m: float
    north_m: float
    accuracy_m: float


class Ar1:
    """A stationary process with mean 0 and standard deviation 1. Its first value has that distribution already."""

    def __init__(self, correlation_s: float, chance: Random) -> None:
        self._correlation_s = correlation_s
        self._chance = chance
        self._value: float | None = None

    def after(self, seconds: float) -> float:
        """The value ``seconds`` after the previous one."""
        shock = self._chance.gauss(0.0, 1.0)
        if self._value is None:
            self._value = shock
        else:
            rho = rho_of(self._correlation_s, seconds)
            self._value = rho * self._value + sqrt(1.0 - rho * rho) * shock
        return self._value


class GpsNoise:
    """The errors of one phone's consecutive fixes."""

    def __init__(self, model: NoiseModel, chance: Random) -> None:
        self._model = model
        self._east = Ar1(model.correlation_s, chance)
        self._north = Ar1(model.correlation_s, chance)
        self._accuracy = Ar1(model.accuracy_correlation_s, chance)

    def after(self, seconds: float) -> FixError:
        """The error of the fix ``seconds`` after the previous one."""
        accuracy_m = self._model.accuracy_m * exp(self._model.accuracy_spread * self._accuracy.after(seconds))
        sigma_m = accuracy_m / RADIUS_68
        return FixError(sigma_m * self._east.after(seconds), sigma_m * self._north.after(seconds), accuracy_m)


def rho_of(correlation_s: float, seconds: float) -> float:
    """Correlation of two values ``seconds`` apart; 0 for white noise (τ = 0)."""
    return exp(-seconds / correlation_s) if correlation_s > 0.0 else 0.0
