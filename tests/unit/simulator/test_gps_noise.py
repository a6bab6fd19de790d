"""GPS noise has the size that the claimed accuracy implies, and the configured correlation."""

from __future__ import annotations

from math import hypot, inf, log, sqrt
from random import Random
from statistics import correlation, pstdev

import pytest

from infrastructure.simulator.gps_noise import RADIUS_68, GpsNoise, NoiseModel, rho_of

SAMPLES = 40_000


def correlation_for(rho: float, seconds: float) -> float:
    """The τ that gives the correlation ``rho`` (0 ≤ ρ < 1) at ``seconds`` between fixes."""
    return -seconds / log(rho) if 0.0 < rho < 1.0 else 0.0 if rho <= 0.0 else inf


def errors(rho: float, accuracy_m: float = 10.0, seconds: float = 1.0) -> list[tuple[float, float]]:
    model = NoiseModel(accuracy_m=accuracy_m, accuracy_spread=0.0, correlation_s=correlation_for(rho, seconds))
    noise = GpsNoise(model, Random(f"noise {rho}"))
    return [noise.after(seconds)[:2] for _ in range(SAMPLES)]


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_sigma_of_each_axis_and_lag_1_correlation(rho: float) -> None:
    east, north = zip(*errors(rho), strict=True)
    # Correlated samples carry less information: the standard error grows with (1 + ρ²) / (1 − ρ²).
    tolerance = 5.0 * sqrt((1 + rho**2) / (1 - rho**2) / (2 * SAMPLES))
    for axis in (east, north):
        assert pstdev(axis) == pytest.approx(10.0 / RADIUS_68, rel=tolerance)
        assert correlation(axis[:-1], axis[1:]) == pytest.approx(rho, abs=5.0 / sqrt(SAMPLES))
    assert abs(correlation(east, north)) < 0.1


def test_the_accuracy_is_the_radius_that_holds_68_percent() -> None:
    within = sum(hypot(*error) <= 10.0 for error in errors(0.0))
    assert within / SAMPLES == pytest.approx(0.68, abs=0.012)


def test_the_first_fix_has_errors_as_large_as_later_ones() -> None:
    model = NoiseModel(accuracy_m=10.0, accuracy_spread=0.0, correlation_s=60.0)
    first = [GpsNoise(model, Random(seed)).after(1.0).east_m for seed in range(4_000)]
    assert pstdev(first) == pytest.approx(10.0 / RADIUS_68, rel=0.06)


def test_correlation_falls_with_the_interval() -> None:
    tau = correlation_for(0.9, 1.0)
    assert rho_of(tau, 1.0) == pytest.approx(0.9)
    assert rho_of(tau, 5.0) == pytest.approx(0.9**5)
    assert rho_of(0.0, 1.0) == 0.0
