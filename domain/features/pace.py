"""A rider's own moving pace: how long a kilometre takes the rider while moving.

The window of 10 pings says how fast a rider is now, and at a red light that is 0. The pace is kept over many rides: its
steps are those of fixes that have left the window, which no late ping can change any more, so the state depends on the
order of event times alone (invariant 6). All sums are integers.
"""

from __future__ import annotations

from typing import NamedTuple

from domain.features.movement import SLOT_MS, PathFix, moved_mm, path_fix

PERIOD_MS = 3_600_000
"""The pace is that of the latest one to two hours of movement: about ten deliveries. It follows a rider who changes the
vehicle. Over less, it says more of the streets than of the rider: of taxis it was 0.6 to 2 times that of the fleet."""

SHORTEST_MM = 1_000_000
"""Below one kilometre of movement the pace is unknown."""


class PaceState(NamedTuple):
    """``last`` is the latest fix used. Then the movement of the current period, and of the one before.

    A period ends with the step that fills it.
    """

    last: PathFix | None = None
    ms: int = 0
    mm: int = 0
    before_ms: int = 0
    before_mm: int = 0


EMPTY_PACE = PaceState()


def step(state: PaceState, t_ms: int, latitude: float, longitude: float) -> PaceState:
    """The state after one more fix, in the order of effective times: epoch ms, WGS84 degrees; pure.

    Of ten seconds the first fix is used: to the noise of a parked phone, one second is movement.
    """
    last = state.last
    if last is not None and t_ms // SLOT_MS <= last.t_ms // SLOT_MS:
        return state
    fix = path_fix(t_ms, latitude, longitude)
    mm = None if last is None else moved_mm(last, fix)
    if last is None or mm is None:
        return state._replace(last=fix)
    ms, mm = state.ms + t_ms - last.t_ms, state.mm + mm
    if ms >= PERIOD_MS:
        return PaceState(fix, 0, 0, ms, mm)
    return PaceState(fix, ms, mm, state.before_ms, state.before_mm)


def pace_s_per_km(state: PaceState) -> float | None:
    """Seconds a kilometre of movement (Σ time ÷ Σ distance), 3 decimals; None if the rider has moved too little."""
    mm = state.mm + state.before_mm
    return None if mm < SHORTEST_MM else round((state.ms + state.before_ms) * 1_000 / mm, 3)
