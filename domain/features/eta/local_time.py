"""Local time of day and day of the week in a city's time zone."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class LocalTime(NamedTuple):
    """``time_of_day_h``: 0 ≤ h < 24, 4 decimals; ``day_of_week``: Monday 0. None: the time zone is unknown."""

    time_of_day_h: float | None
    day_of_week: int | None


def local_time(time_zone: str, at_ms: int) -> LocalTime:
    """The local time at an instant, by the tz database of this machine."""
    zone = _zone(time_zone)
    if zone is None:
        return LocalTime(None, None)
    at = datetime.fromtimestamp(at_ms // 1_000, zone)
    # Seconds are whole, so four decimals never reach 24.
    return LocalTime(round(at.hour + at.minute / 60 + at.second / 3_600, 4), at.weekday())


@lru_cache(maxsize=1_024)
def _zone(time_zone: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(time_zone) if time_zone else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # A zone of a newer tz database, or of an order that was placed before zones were checked.
        return None
