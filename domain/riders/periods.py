"""The periods of statements: ISO weeks in UTC, such as 2026-W48. As texts they sort by time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from domain.errors import InvalidPeriod

_PERIOD = re.compile(r"(20[0-9]{2})-W([0-9]{2})")


def check_period(period: str) -> str:
    """The period as given. Raises InvalidPeriod unless it names an ISO week of the years 2000 to 2099."""
    _first_day(period)
    return period


def period_bounds_ms(period: str) -> tuple[int, int]:
    """First and first following instant of a period, in epoch milliseconds. Raises InvalidPeriod."""
    first = _first_day(period)
    return _ms(first), _ms(first + timedelta(days=7))


def period_of(t_ms: int) -> str:
    """The period of an instant in epoch milliseconds."""
    year, week, _ = datetime.fromtimestamp(t_ms // 1000, UTC).isocalendar()
    return f"{year:04d}-W{week:02d}"


def _first_day(period: str) -> datetime:
    found = _PERIOD.fullmatch(period)
    if found is not None:
        try:
            return datetime.fromisocalendar(int(found[1]), int(found[2]), 1).replace(tzinfo=UTC)
        except ValueError:
            pass  # there is no such week: falls through to the error below
    raise InvalidPeriod("period must be an ISO week in UTC, such as 2026-W48")


def _ms(day: datetime) -> int:
    return int(day.timestamp()) * 1000
