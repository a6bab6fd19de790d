"""Computes which rows a rider's event changes, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from domain.features.rider_hours import HOUR_MS, MINUTE_MS, RiderHours
from read_models.rows import RowChange

# In the order of HourChange.add, HourChange.latest and MinuteChange.add.
_STEPS = ("impossible_steps", "distance_mm", "moving_mm", "moving_ms")
_LATE = ("late_1_min", "late_5_min", "late_15_min", "late_60_min")
HOUR_SUMS = ("pings", "rejected_fixes", "too_late", *_LATE, *_STEPS)
HOUR_MAXIMA = ("speed_max_mm_s", "longest_silence_ms")
MINUTE_SUMS = ("riders", "pings", "rejected_fixes", "too_late", *_STEPS)


def changes(key: str, state: RiderHours) -> Sequence[RowChange]:
    """The changes that the last event of the rider ``key`` makes, by row."""
    return [RowChange("rider_hours", (key, _instant(c.hour, HOUR_MS)), c.add, c.latest) for c in state.hours] + [
        RowChange("fleet_minutes", (_instant(c.minute, MINUTE_MS),), c.add) for c in state.minutes
    ]


@lru_cache(maxsize=4096)
def _instant(number: int, unit_ms: int) -> datetime:
    return datetime.fromtimestamp(number * unit_ms // 1000, UTC)
