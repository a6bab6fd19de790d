"""Teleports: a rider is at another place sooner than anything on the ground moves.

A jump starts a branch beside the trunk, the track before it. Three fixes make the branch a teleport. A fix that fits
the trunk and not the branch is the return: the branch was the outlier, and the return is not blamed. One or two wrong
fixes are a receiver's error, and no signal.
"""

from __future__ import annotations

from typing import NamedTuple

from domain.features.spoofing.fixes import FASTEST_MM_PER_MS, Fix, distance_mm, is_possible
from domain.features.spoofing.signals import TELEPORT, Finding

LONGEST_GAP_MS = 600_000
"""Across ten minutes without a fix nothing is said: a rider may have been carried anywhere."""

TRUNK_FIXES = 5
"""So many fixes before the jump. Less may be the stale first fixes of a phone that was just switched on."""

BRANCH_FIXES = 3

LONGEST_BRANCH_MS = 7_200_000
"""A branch that has lasted two hours is where the rider is."""


class Branch(NamedTuple):
    """The track since a jump. ``anchor`` is the last fix of the trunk; ``fixes`` counts those from ``first`` on."""

    anchor: Fix
    first: Fix
    fixes: int


class JumpStep(NamedTuple):
    """What one fix does to the track. ``returned``: the branch, of three fixes or more, that it ends."""

    branch: Branch | None
    trunk: int
    finding: Finding | None
    returned: Branch | None


def is_young(branch: Branch | None) -> bool:
    """Whether the next fix may make a branch a teleport: the window keeps it, whenever it comes."""
    return branch is None or branch.fixes < BRANCH_FIXES


def step(branch: Branch | None, last: Fix, fix: Fix, mm: int, trunk: int) -> JumpStep:
    """The step to ``fix``, ``mm`` from ``last``: it is impossible, or a branch is open whose last fix ``last`` is."""
    if fix.t_ms - last.t_ms >= LONGEST_GAP_MS:
        return JumpStep(None, 1, None, None)
    if branch is None:
        is_long = trunk >= TRUNK_FIXES
        return JumpStep(Branch(last, fix, 1) if is_long else None, trunk if is_long else 1, None, None)
    anchor, first, count = branch
    if fix.t_ms - first.t_ms > LONGEST_BRANCH_MS:
        return JumpStep(None, 1, None, None)
    if is_possible(last, fix, mm):
        grown = Branch(anchor, first, min(count + 1, 0xFFFF))
        finding = _teleport(grown, fix) if count + 1 == BRANCH_FIXES else None
        return JumpStep(grown, trunk, finding, None)
    back_mm = distance_mm(anchor.latitude_e7, anchor.longitude_e7, fix.latitude_e7, fix.longitude_e7)
    ended = branch if count >= BRANCH_FIXES else None
    if is_possible(anchor, fix, back_mm):
        return JumpStep(None, trunk, None, ended)
    # A third place. The trunk stays what it was.
    return JumpStep(Branch(anchor, fix, 1), trunk, None, ended)


def _teleport(branch: Branch, fix: Fix) -> Finding:
    anchor, first, count = branch
    mm = distance_mm(anchor.latitude_e7, anchor.longitude_e7, first.latitude_e7, first.longitude_e7)
    ms = first.t_ms - anchor.t_ms
    bound_mm = mm - anchor.error_mm - first.error_mm
    measured = (
        ("distance_m", mm // 1_000),
        ("lower_bound_m", bound_mm // 1_000),
        ("seconds", ms / 1_000),
        ("lower_bound_mps", round(bound_mm / ms, 1)),
        ("limit_mps", FASTEST_MM_PER_MS),
        ("fixes", count),
    )
    return Finding(TELEPORT, first.t_ms, fix.t_ms, measured)
