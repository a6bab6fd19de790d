"""Rejects fixes that contradict the rest of their window: jumps that no vehicle makes, and detours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from math import fsum, hypot, sqrt

from domain.features.speed.fixes import Reason, SpeedFix

MAX_MPS = 50.0
"""Faster than any delivery vehicle in a city: of two fixes that need more, one is a jump."""

MAX_ACCELERATION = 3.0
MAX_SPEED_CHANGE_MPS = 15.0
"""What a vehicle can do between two pings (m/s², and in total). Allowed at the ends of the window only, where no
further fix distinguishes a rider who starts from a fix that jumps. Without it the first metres of every ride would be
rejected."""

DETOUR_SIGMAS = 4.0
"""Detours within the reported accuracy are noise. Rejecting them would make the rest look better than it is."""

DETOUR_MADS = 3.0 * 1.4826
"""Three standard deviations by the median absolute deviation: what the whole window does (curves, stops) is not an
outlier."""

SPOILT_DETOURS = 3
"""One jump causes a detour of itself and of both its neighbours. The typical detour is read below those three."""

MAX_DETOURS = 3
"""Bounds the work. A window with more of them has no consistent path to deviate from."""


def _reachable(a: SpeedFix, b: SpeedFix) -> bool:
    beyond = hypot(a.x - b.x, a.y - b.y) - MAX_MPS * abs(a.t - b.t)
    return beyond <= 0.0 or beyond <= DETOUR_SIGMAS * sqrt(a.variance + b.variance)


def without_jumps(fixes: list[SpeedFix], rejected: dict[int, Reason]) -> list[SpeedFix]:
    """Drops the fix from which most others cannot be reached, until no unreachable pair is left.

    By votes and not step by step: the correct fix after a jump needs the same impossible speed as the jump. Of equal
    votes, the older fix is dropped; of two that conflict only with each other, the one farther from the rest.
    """
    if all(_reachable(a, b) for a, b in pairwise(fixes)):
        return fixes
    conflicts: dict[int, set[int]] = {i: set() for i in range(len(fixes))}
    for i, j in combinations(conflicts, 2):
        if not _reachable(fixes[i], fixes[j]):
            conflicts[i].add(j)
            conflicts[j].add(i)

    def blame(i: int) -> tuple[int, float, int]:
        votes = len(conflicts[i])
        return votes, _remoteness(fixes, i) if votes == 1 else 0.0, -i

    while any(conflicts.values()):
        jump = max(conflicts, key=blame)
        rejected[fixes[jump].place] = "unreachable"
        for others in conflicts.values():
            others.discard(jump)
        del conflicts[jump]
    return [fixes[i] for i in conflicts]


def _remoteness(fixes: Sequence[SpeedFix], i: int) -> float:
    return sum(hypot(fixes[i].x - other.x, fixes[i].y - other.y) for other in fixes)


def without_detours(fixes: list[SpeedFix], rejected: dict[int, Reason]) -> list[SpeedFix]:
    """Drops the fixes that deviate from the line between their neighbours by far more than the rest of the window."""
    for _ in range(MAX_DETOURS):
        detours = _detours(fixes)
        if len(detours) < 2 or not _strays(fixes, detours):
            break
        # The fix without which the rest is smoothest is dropped: its neighbours deviate only because of it.
        blamed = min(range(len(fixes)), key=lambda i: (_roughness_without(fixes, detours, i), -i))
        rejected[fixes[blamed].place] = "detour"
        fixes = fixes[:blamed] + fixes[blamed + 1 :]
    return fixes


def _roughness_without(fixes: list[SpeedFix], detours: list[float], i: int) -> float:
    """Sum of the detours that remain without fix ``i``: only those of its two neighbours are recomputed."""
    after = detours[i + 1 :]
    # fsum, so that the order of the terms cannot decide a tie.
    return fsum([*detours[: max(i - 2, 0)], *_detours([*fixes[max(i - 2, 0) : i], *fixes[i + 1 : i + 3]]), *after])


def _detours(fixes: Sequence[SpeedFix]) -> list[float]:
    """Distance in metres of each inner fix from the interpolation of its neighbours at its time."""
    detours: list[float] = []
    for before, fix, after in zip(fixes, fixes[1:], fixes[2:], strict=False):
        span = after.t - before.t
        share = (fix.t - before.t) / span if span > 0.0 else 0.5
        dx = fix.x - before.x - share * (after.x - before.x)
        dy = fix.y - before.y - share * (after.y - before.y)
        detours.append(hypot(dx, dy))
    return detours


def _strays(fixes: Sequence[SpeedFix], detours: Sequence[float]) -> bool:
    """Whether some detour is beyond the window's own, beyond the accuracy and, at the ends, beyond any vehicle."""
    count = len(detours)
    rank = min(count // 2, count - 1 - SPOILT_DETOURS)
    limit = DETOUR_MADS * sorted(detours)[rank] if rank >= 0 else 0.0
    if max(detours) <= limit:
        return False
    for i, detour in enumerate(detours):
        before, fix, after = fixes[i : i + 3]
        noise = DETOUR_SIGMAS * sqrt(fix.variance + (before.variance + after.variance) / 4.0)
        if detour > max(limit, noise) and (
            0 < i < count - 1 or detour > noise + _manoeuvre_m(before.t, fix.t, after.t)
        ):
            return True
    return False


def _manoeuvre_m(t0: float, t1: float, t2: float) -> float:
    """How far from the chord a vehicle can be at ``t1`` by changing its speed between the two steps."""
    span = t2 - t0
    change = min(MAX_ACCELERATION / 2.0 * span, MAX_SPEED_CHANGE_MPS)
    return change * (t1 - t0) * (t2 - t1) / span if span > 0.0 else 0.0
