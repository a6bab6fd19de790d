"""The robust speed of a rider's window: about zero for a phone at rest, the current speed for one that moves."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, sqrt
from typing import NamedTuple

from domain.features.speed_fixes import Fix, Reason, accuracy_m, eligible, on_plane
from domain.features.speed_outliers import without_detours, without_jumps
from domain.features.speed_regression import Motion
from domain.features.speed_regression import motion as regression
from domain.features.speed_window import WindowPing

REST_SIGMAS = 3.0
"""A velocity within so many standard deviations of zero is rest: noise alone passes in exp(-9/2) = 1.1 % of windows."""

DEVICE_MAX_ACCURACY_M = 20.0
"""Beyond it the sky is not clear, and the Doppler speed is as doubtful as the position."""

DEVICE_ACCELERATION = 1.0
"""m/s². The device measures now, the fixes a few seconds ago: disagreement that this does not explain is a device that
claims motion without moving, or the reverse."""


class PingVerdict(NamedTuple):
    """``weight``: the ping's share in the regression, 0 to 1; ``rejected``: why it has none, or None."""

    event_id: str
    weight: float
    rejected: Reason | None


class _Estimate(NamedTuple):
    window: list[WindowPing]
    fixes: list[Fix]
    rejected: dict[int, Reason]
    motion: Motion | None


def robust_speed_mps(pings: Sequence[WindowPing]) -> float | None:
    """The current speed in m/s, 3 decimals; None if fewer than two pings are usable or there is no time between them.

    1. Pings that are stale, imprecise, unreachable or detours are dropped (``speed_fixes``, ``speed_outliers``).
    2. v, the velocity, is the slope of position on time by discounted least squares (R. G. Brown, *Smoothing,
       Forecasting and Prediction*, 1963): weight = exp(-age ÷ 8 s) ÷ σ², σ = accuracy ÷ 1.515 on either axis.
    3. V, its variance, is the smaller of two upper bounds: what errors of the reported size do to the slope at their
       worst correlation, and what errors that walk at random with the steps seen would do. The first takes the phone's
       word; the second takes nobody's, and is far the tighter for a smooth ride at 1 Hz.
    4. speed = |v|·√(1 - (9 V ÷ |v|²)²), and 0 where |v|² ≤ 9 V: continuous, like the non-negative garrote
       |v|·(1 - 9 V ÷ |v|²) (L. Breiman, *Technometrics* 37, 1995), but takes less from those who clearly move.
    5. The device's own speed, measured by Doppler and without lag, replaces it if it is the newest ping's, from a
       precise fix, and compatible with 4. Exactly 0 is no measurement: some Android phones report it all the way.

    None means unknown, 0 that no motion can be told from noise. That hides the slowest: with true errors of 10 m, most
    of those at 1 m/s at 5 to 15 s a ping; at 1 Hz, where nine seconds are all there is to see, half of those at 3 m/s
    and a third of those at 4. On real bicycles the gate makes the mean 0.1 m/s too low at 3 s a ping, 0.2 at 15 s.
    Pure; neither the order of ``pings`` nor a repeated (t_ms, event_id) matters.
    """
    estimate = _estimate(pings)
    if estimate.motion is None:
        return None
    speed = _shrunk_speed(estimate.motion)
    device = _device_speed(estimate)
    return round(speed if device is None or not _compatible(device, speed, estimate.motion) else device, 3)


def explain(pings: Sequence[WindowPing]) -> list[PingVerdict]:
    """What each ping, by (t_ms, event_id), weighed in ``robust_speed_mps``; all weights are 0 where that is None."""
    window, fixes, rejected, motion = _estimate(pings)
    weights = [] if motion is None else motion.weights
    shares = {fix.place: weight / sum(weights) for fix, weight in zip(fixes, weights, strict=False)}
    return [PingVerdict(ping.event_id, shares.get(i, 0.0), rejected.get(i)) for i, ping in enumerate(window)]


def _estimate(pings: Sequence[WindowPing]) -> _Estimate:
    window = sorted(pings, key=_identity)
    rejected: dict[int, Reason] = {}
    fixes = on_plane(window, eligible(window, rejected))
    kept = without_jumps(fixes, rejected)
    if kept and kept[-1] is not fixes[-1]:
        # Seen from a jump of thousands of kilometres, the plane stretches the others' metres.
        kept = on_plane(window, [fix.place for fix in kept])
    kept = without_detours(kept, rejected)
    return _Estimate(window, kept, rejected, regression(kept))


def _identity(ping: WindowPing) -> tuple[int, str]:
    return ping.t_ms, ping.event_id


def _shrunk_speed(motion: Motion) -> float:
    speed = hypot(motion.east, motion.north)
    threshold = REST_SIGMAS * sqrt(motion.variance)
    if speed <= threshold:
        return 0.0
    return speed * sqrt(1.0 - (threshold / speed) ** 4)


def _device_speed(estimate: _Estimate) -> float | None:
    """The device's speed in m/s with the newest ping, if that ping is precise and fits the window."""
    newest = estimate.fixes[-1].ping
    speed = newest.speed_mps
    if speed is None or not speed > 0.0:
        return None
    if newest.t_ms != estimate.window[-1].t_ms or accuracy_m(newest) > DEVICE_MAX_ACCURACY_M:
        return None
    return speed


def _compatible(device: float, speed: float, motion: Motion) -> bool:
    return abs(device - speed) <= REST_SIGMAS * sqrt(motion.variance) + DEVICE_ACCELERATION * motion.age_s
