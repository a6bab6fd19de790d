"""ISO weeks in UTC, as numbers that count and as the names of statements' periods."""

from __future__ import annotations

from datetime import date

DAY_MS = 86_400_000
_MONDAY = 3
"""Days from the Monday of week 0, 1969-12-29, to the epoch."""
_EPOCH_ORDINAL = 719_163


def week_of(t_ms: int) -> int:
    """The number of the ISO week (UTC) of an instant in epoch milliseconds. The epoch is in week 0."""
    return (t_ms // DAY_MS + _MONDAY) // 7


def period_name(week: int) -> str:
    """``2026-W48``: the ISO week-numbering year and week, which sort by time as texts."""
    year, number, _ = date.fromordinal(_EPOCH_ORDINAL - _MONDAY + 7 * week).isocalendar()
    return f"{year:04d}-W{number:02d}"


def week_named(period: str) -> int:
    """Inverse of ``period_name``. Raises ValueError for any other text."""
    year, separator, number = period.partition("-W")
    if not separator or not (year + number).isdecimal():
        raise ValueError(f"a period is an ISO week such as 2026-W48, not {period[:40]!r}")
    week = (date.fromisocalendar(int(year), int(number), 1).toordinal() - _EPOCH_ORDINAL + _MONDAY) // 7
    if period_name(week) != period:
        raise ValueError(f"a period is an ISO week such as 2026-W48, not {period[:40]!r}")
    return week
