"""Estimates a rider's speed robustly: about zero for a phone at rest, the current speed for a moving one."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, hypot, sqrt
from typing import NamedTuple

from domain.features.speed.fixes import Reason, SpeedFix, accuracy_m, eligible, on_plane, spaced_as_sent
from domain.features.speed.outliers import without_detours, without_jumps
from domain.features.speed.regression import MEMORY_S, MIN_FIXES_TO_WANDER, Motion
from domain.features.speed.regression import motion as regression
from domain.features.speed.window import WindowPing

REST_SIGMAS = 3.0
"""A velocity within so many standard deviations of zero is rest. Noise exceeds it in exp(-9/2) = 1.1 % of windows."""

SLOW_RIDE_MPS = 3.0
"""Where repeats leave few fixes, rest is reported only if a rider at this speed would hardly ever look as slow. Two
fixes of 10 m cannot distinguish a car at 8 m/s from a parked phone, and 0 would claim that they can."""

DEVICE_MAX_ACCURACY_M = 20.0
"""Beyond it the view of the sky is obstructed, and the Doppler speed is as uncertain as the position."""

DEVICE_ACCELERATION = 1.0
"""m/s². The device measures now, the fixes a few seconds ago. If this does not explain a disagreement, the device
reports motion without moving, or the reverse."""


class PingVerdict(NamedTuple):
    """``weight``: the ping's share in the regression, 0 to 1; ``rejected``: why it has none, or None."""

    event_id: str
    weight: float
    rejected: Reason | None


class _Estimate(NamedTuple):
    window: list[WindowPing]
    fixes: list[SpeedFix]
    rejected: dict[int, Reason]
    motion: Motion | None


def robust_speed_mps(pings: Sequence[WindowPing]) -> float | None:
    """The current speed in m/s, 3 decimals; None if fewer than two pings are usable or there is no time between them.

    1. Pings that are repeated, stale, imprecise, unreachable or detours are dropped (``speed.fixes``,
       ``speed.outliers``).
    2. v, the velocity, is the slope of position on time by discounted least squares (R. G. Brown, *Smoothing,
       Forecasting and Prediction*, 1963): weight = exp(-age ÷ 8 s) ÷ σ², σ = accuracy ÷ 1.515 on either axis.
    3. V, its variance, is the smaller of two upper bounds: what errors of the reported size do to the slope at their
       worst correlation, and what errors that walk at random with the steps seen would do. The first trusts the
       phone; the second does not, and is much tighter for a smooth ride at 1 Hz.
    4. speed = |v|·√(1 - (9 V ÷ |v|²)²), and 0 where |v|² ≤ 9 V: continuous, like the non-negative garrote
       |v|·(1 - 9 V ÷ |v|²) (L. Breiman, *Technometrics* 37, 1995), but with less shrinkage of clear motion.
    5. The device's own speed, measured by Doppler and without lag, replaces it if it is that of the newest fix,
       which is precise, and compatible with 4. Exactly 0 is not a measurement: some Android phones always report it.
       With fewer than 6 fixes and no motion in 4, every value would be compatible, so it is not used.
    6. A phone that repeats positions gives less evidence than it sends. Then the speed is None if 4 gives 0 from fewer
       than 6 fixes that do not show rest, and if the newest fix is more than 8 s older than the newest ping.

    None means unknown; 0 means that motion cannot be distinguished from noise. That hides the slowest riders: with true
    errors of 10 m, most of those at 1 m/s at 5 to 15 s a ping; at 1 Hz, where a window spans only nine seconds, half of
    those at 3 m/s and a third of those at 4. On real bicycles the threshold makes the mean 0.1 m/s too low at 3 s a
    ping, 0.2 at 15 s. Pure; neither the order of ``pings`` nor a ping given twice matters.
    """
    speed = _speed(_estimate(pings))
    return None if speed is None else round(speed, 3)


def explain(pings: Sequence[WindowPing]) -> list[PingVerdict]:
    """The weight of each ping in ``robust_speed_mps``, in the window's order; all weights are 0 if that is None."""
    estimate = _estimate(pings)
    weights = [] if estimate.motion is None or _speed(estimate) is None else estimate.motion.weights
    shares = {fix.place: weight / sum(weights) for fix, weight in zip(estimate.fixes, weights, strict=False)}
    rejected = estimate.rejected
    return [PingVerdict(ping.event_id, shares.get(i, 0.0), rejected.get(i)) for i, ping in enumerate(estimate.window)]


def _estimate(pings: Sequence[WindowPing]) -> _Estimate:
    window = spaced_as_sent(sorted(pings, key=lambda ping: ping.order))
    rejected: dict[int, Reason] = {}
    fixes = on_plane(window, eligible(window, rejected))
    kept = without_jumps(fixes, rejected)
    if kept and kept[-1] is not fixes[-1]:
        # The plane about a fix that jumped thousands of kilometres distorts the distances between the others.
        kept = on_plane(window, [fix.place for fix in kept])
    kept = without_detours(kept, rejected)
    return _Estimate(window, kept, rejected, regression(kept))


def _speed(estimate: _Estimate) -> float | None:
    motion = estimate.motion
    if motion is None:
        return None
    repeats = "repeated" in estimate.rejected.values()
    if repeats and _newest_fix_age_s(estimate) > MEMORY_S:
        return None
    speed = _shrunk_speed(motion)
    device = _device_speed(estimate)
    if (
        device is not None
        and (speed > 0.0 or len(estimate.fixes) >= MIN_FIXES_TO_WANDER)
        and _compatible(device, speed, motion)
    ):
        return device
    few = repeats and len(estimate.fixes) < MIN_FIXES_TO_WANDER
    return None if few and speed == 0.0 and not _shows_rest(motion) else speed


def _shows_rest(motion: Motion) -> bool:
    """Whether a rider at ``SLOW_RIDE_MPS`` or more looks as slow in at most exp(-9/2) = 1.1 % of windows.

    P(|v| <= u) for a true speed s > u and errors of variance V is at most the disc's area by its highest density,
    u² ÷ 2V · exp(-(s - u)² ÷ 2V). V is an upper bound, so the worst variance up to V counts: of all, (s - u)² ÷ 2.
    """
    speed = hypot(motion.east, motion.north)
    margin = (SLOW_RIDE_MPS - speed) ** 2 / 2.0
    variance = min(motion.variance, margin)
    if speed >= SLOW_RIDE_MPS or variance == 0.0:
        return speed == 0.0
    return speed * speed / (2.0 * variance) * exp(-margin / variance) <= exp(-REST_SIGMAS * REST_SIGMAS / 2.0)


def _newest_fix_age_s(estimate: _Estimate) -> float:
    return (estimate.window[-1].t_ms - estimate.fixes[-1].ping.t_ms) / 1000.0


def _shrunk_speed(motion: Motion) -> float:
    speed = hypot(motion.east, motion.north)
    threshold = REST_SIGMAS * sqrt(motion.variance)
    if speed <= threshold:
        return 0.0
    return speed * sqrt(1.0 - (threshold / speed) ** 4)


def _device_speed(estimate: _Estimate) -> float | None:
    """The device's speed in m/s at the newest fix, if that fix is precise and all later pings only repeat it."""
    newest = estimate.fixes[-1]
    speed = newest.ping.speed_mps
    if speed is None or not speed > 0.0 or accuracy_m(newest.ping) > DEVICE_MAX_ACCURACY_M:
        return None
    later = range(newest.place + 1, len(estimate.window))
    return speed if all(estimate.rejected.get(place) in {"repeated", "duplicate"} for place in later) else None


def _compatible(device: float, speed: float, motion: Motion) -> bool:
    return abs(device - speed) <= REST_SIGMAS * sqrt(motion.variance) + DEVICE_ACCELERATION * motion.age_s
