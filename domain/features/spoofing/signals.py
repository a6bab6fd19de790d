"""The signals that a position is forged: their names, families and points. These are data of the fold's version.

Signals of one family share a cause: a receiver that fails makes all of them at once. So an alert needs two families.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

FOLD_VERSION: Final = 1
"""Named in every case file, so that a reader knows by which definitions it was made."""

TELEPORT: Final = "teleport"
FROZEN_POSITION: Final = "frozen_position"
IMPLIED_SPEED: Final = "implied_speed"
CONSTANT_READINGS: Final = "constant_readings"
REGULAR_STEPS: Final = "regular_steps"
CLOCK_SHIFT: Final = "clock_shift"
REPEATED_TRACK: Final = "repeated_track"
JUMP_TO_TARGET: Final = "jump_to_target"
OFFSET_AT_ASSIGNMENT: Final = "offset_at_assignment"
MOCK_FLAG: Final = "mock_flag"

FAMILY: Final = {
    TELEPORT: "jump",
    FROZEN_POSITION: "motion",
    IMPLIED_SPEED: "motion",
    CONSTANT_READINGS: "regularity",
    REGULAR_STEPS: "regularity",
    CLOCK_SHIFT: "clock",
    REPEATED_TRACK: "repetition",
    JUMP_TO_TARGET: "assignment",
    OFFSET_AT_ASSIGNMENT: "assignment",
    MOCK_FLAG: "mock",
}

POINTS: Final = {
    "jump": 30,
    "motion": 40,
    "regularity": 50,
    "clock": 40,
    "repetition": 50,
    "assignment": 40,
    "mock": 40,
}
"""Ten times the negative decimal logarithm of the share of honest pings that show the family, rounded down to tens: a
family that one ping in 1,000 shows is worth 30. Measured on MobilityNet, Dublin and the taxis (docs/fraud.md); a
family that none of them shows has the share of three in their number of pings, the upper 95 % bound ("rule of three").
``clock``, ``assignment`` and ``mock`` cannot be measured on all of those files, and have 40, by judgement."""

MIN_FAMILIES: Final = 2
"""One cause alone, such as a receiver under a bridge or a wrong Wi-Fi position, makes no alert."""


class Finding(NamedTuple):
    """A signal as its detector found it, between two effective times in epoch ms.

    ``evidence``: the event ids, where the detector keeps them; else those of the window in that time.
    """

    name: str
    start_ms: int
    end_ms: int
    measured: tuple[tuple[str, int | float | str | None], ...]
    evidence: tuple[str, ...] = ()


def families(names: Iterable[str]) -> set[str]:
    return {FAMILY[name] for name in names}


def score(names: Iterable[str]) -> int:
    """0 to 100: the sum of the points of the families. Two signals of one family count once."""
    return min(100, sum(POINTS[family] for family in families(names)))
