"""Exact instants and integers: RFC 3339 times, JSON numbers and decimal text as whole epoch milliseconds.

No conversion here goes through a float, so no instant is rounded. Digits finer than a millisecond are cut towards
the past. An instant is therefore never later than what was sent, and one fix sent in milliseconds and in
microseconds is one ping.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)

MAX_TEXT_CHARACTERS: Final = 64
"""Bounds the text of one instant or integer, so that a hostile one costs no more than a real one."""

EXACT_FLOAT_LIMIT: Final = 2.0**53
"""From here on neighbouring doubles are 2 apart, so a double does not name the one integer that was meant."""

_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()

# RFC 3339 section 5.6. [0-9], since \d also matches digits of other scripts. Its note permits a space for the T.
_RFC3339: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_FULL_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DECIMAL: Final = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]*))?(?:[Ee]([+-]?[0-9]{1,4}))?")


def rfc3339_ms(text: str) -> int:
    """Epoch milliseconds of an RFC 3339 time with zone; digits finer than a millisecond are cut.

    ``T`` and ``Z`` may be lower case, and a space may stand for the ``T``, as section 5.6 permits. Second 60 is
    accepted where a leap second can be, in the last minute of a month in UTC, and counts as POSIX counts it: as
    second 0 of the next minute. ``-00:00``, a local time whose zone is unknown, names the same instant as ``Z``.

    Raises:
        ValueError: the text is not such a time.
    """
    match = _RFC3339.fullmatch(text) if len(text) <= MAX_TEXT_CHARACTERS else None
    if match is None:
        raise ValueError("not an RFC 3339 time with its zone, for example 2026-01-31T12:00:00Z")
    day, hour, minute, second, fraction, sign, offset_hour, offset_minute = match.groups()
    minutes = _day_number(day) * 1440 + int(hour) * 60 + int(minute)
    if sign is not None:
        offset = int(offset_hour) * 60 + int(offset_minute)
        minutes += offset if sign == "-" else -offset
    if second == "60" and not _may_have_leap_second(minutes):
        raise ValueError("second 60 occurs only in the last minute of a month in UTC")
    return (minutes * 60 + int(second)) * 1000 + (int(fraction[:3].ljust(3, "0")) if fraction else 0)


def utc_day(text: str) -> datetime:
    """The start of a day written ``YYYY-MM-DD``, in UTC.

    Raises:
        ValueError: the text is not such a day.
    """
    if _FULL_DATE.fullmatch(text) is None:
        raise ValueError("a day is written YYYY-MM-DD")
    return EPOCH + timedelta(days=_day_number(text))


def json_integer(value: object) -> int | None:
    """The integer that a decoded JSON number is; None if it is none, or a double too large to name one integer.

    JSON does not distinguish 5 from 5.0, and React Native, Lua, Dart and PHP write the latter.
    """
    if type(value) is int:
        return value
    if type(value) is float and -EXACT_FLOAT_LIMIT < value < EXACT_FLOAT_LIMIT and value.is_integer():
        return int(value)
    return None


def decimal_integer(text: str) -> int | None:
    """The integer that decimal text names; None if the text is no decimal number.

    ``5``, ``5.0`` and ``1.795946147389e12`` are accepted. An exponent form needs at least as many decimals as its
    exponent: a spreadsheet shows 1795946147389 as 1.79594E+12 and saves that, so its other digits are lost.

    Raises:
        ValueError: the number is not an integer, or its last digits were cut.
    """
    match = _DECIMAL.fullmatch(text) if len(text) <= MAX_TEXT_CHARACTERS else None
    if match is None:
        return None
    sign, whole, decimals, exponent = match[1], match[2], match[3] or "", int(match[4] or 0)
    if exponent > len(decimals):
        raise ValueError("a spreadsheet cut its last digits: format the column as a number without decimals")
    digits = whole + decimals
    point = max(0, len(digits) - (len(decimals) - exponent))
    if digits[point:].strip("0"):
        raise ValueError("not an integer")
    return int(f"{sign}{digits[:point] or 0}")


def epoch_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970 of a datetime with zone, cut towards the past."""
    return (moment - EPOCH) // MILLISECOND


def utc_datetime(ms: int) -> datetime:
    """Epoch milliseconds as a datetime in UTC.

    Raises:
        ValueError: the instant is not in the years 1 to 9999.
    """
    try:
        return EPOCH + MILLISECOND * ms
    except OverflowError as error:
        raise ValueError(f"{ms} ms since 1970 is not in the years 1 to 9999") from error


@lru_cache(maxsize=64)
def _day_number(full_date: str) -> int:
    """Days since 1970. Cached, since most times of a request are of one day. Raises ValueError."""
    year, month, day = full_date.split("-")
    return date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY


def _may_have_leap_second(utc_minutes: int) -> bool:
    """Whether the minute ``utc_minutes`` after 1970 is the last of a month."""
    day, minute_of_day = divmod(utc_minutes + 1, 1440)
    return minute_of_day == 0 and date.fromordinal(day + _EPOCH_DAY).day == 1
