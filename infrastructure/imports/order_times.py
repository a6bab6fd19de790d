"""Reads the times of an order history: epoch seconds or milliseconds, RFC 3339, or local times of a known zone."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.timestamps import MAX_TEXT_CHARACTERS, decimal_integer, rfc3339_ms

YEAR_2000_S, YEAR_2100_S = 946_684_800, 4_102_444_800
"""Epoch seconds. Of these years a number names seconds or milliseconds, and no number names both."""

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_SECONDS = re.compile(r"([0-9]{9,10})(?:\.([0-9]*))?")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[Ee][+-]?[0-9]{1,4})?")
# As databases and data frames write it: a space for the T, an offset of hours alone, UTC as a word, no seconds.
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:[.,]([0-9]+))?)?"
    r" ?(Z|z|UTC|GMT|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?"
)


class BadTime(ValueError):
    """The text is no time that can be used. The message says why."""


def history_time_ms(text: str, zone: str | None) -> int:
    """Epoch milliseconds; digits finer than a millisecond are cut. ``zone`` (IANA) is that of a time without one.

    Raises:
        BadTime: the text is no such time; it has no zone and ``zone`` is None; or clocks showed it twice or never.
    """
    if len(text) > MAX_TEXT_CHARACTERS:
        raise BadTime(f"longer than {MAX_TEXT_CHARACTERS} characters")
    match = _TIME.fullmatch(text)
    if match is None:
        return _number_ms(text) if _NUMBER.fullmatch(text) else _other_ms(text)
    day, hour, minute, second, fraction, offset = match.groups()
    seconds = int(hour) * 3_600 + int(minute) * 60 + int(second or 0)
    ms = int(fraction[:3].ljust(3, "0")) if fraction else 0
    try:
        local_s = _day_number(day) * 86_400 + seconds
    except ValueError as error:
        raise BadTime(str(error)) from None
    if offset is not None:
        return (local_s - _offset_s(offset)) * 1_000 + ms
    if zone is None:
        raise BadTime("it has no time zone: name that of the file with --naive-zone or --time-zone")
    return (local_s - _zone_offset_s(zone, local_s)) * 1_000 + ms


def _other_ms(text: str) -> int:
    try:
        return rfc3339_ms(text)
    except ValueError:
        raise BadTime(
            "neither epoch seconds or milliseconds nor a time such as 2026-01-31T12:00:00Z or 2026-01-31 12:00:00"
        ) from None


def _number_ms(text: str) -> int:
    match = _SECONDS.fullmatch(text)
    if match is not None:
        seconds = int(match[1])
        if YEAR_2000_S <= seconds < YEAR_2100_S:
            return seconds * 1_000 + int((match[2] or "")[:3].ljust(3, "0"))
    try:
        value = decimal_integer(text.partition(".")[0] if re.fullmatch(r"[0-9]{12,13}\.[0-9]+", text) else text)
    except ValueError as error:
        raise BadTime(str(error)) from None
    if value is not None and YEAR_2000_S <= value < YEAR_2100_S:
        return value * 1_000
    if value is not None and YEAR_2000_S * 1_000 <= value < YEAR_2100_S * 1_000:
        return value
    hint = " (a spreadsheet's day number? format the column as date and time)" if abs(value or 0) < 100_000 else ""
    raise BadTime(f"neither epoch seconds nor milliseconds of the years 2000 to 2099{hint}")


def _offset_s(text: str) -> int:
    if text[0] not in "+-":
        return 0
    digits = text[1:].replace(":", "")
    seconds = int(digits[:2]) * 3_600 + int(digits[2:] or 0) * 60
    return -seconds if text[0] == "-" else seconds


def _zone_offset_s(zone: str, local_s: int) -> int:
    try:
        offset_s, other_s = _offsets_s(zone, local_s // 900)
    except (ZoneInfoNotFoundError, ValueError, OSError, OverflowError):
        raise BadTime(f"{zone} is no time zone of the IANA database") from None
    if offset_s == other_s:
        return offset_s
    if offset_s > other_s:
        raise BadTime(f"in {zone} clocks showed this time twice: write the time with its offset")
    raise BadTime(f"in {zone} clocks never showed this time: it was skipped when summer time began")


@lru_cache(maxsize=1_024)
def _offsets_s(zone: str, local_quarter: int) -> tuple[int, int]:
    """The offsets of the earlier and the later reading of a local time; zones change theirs at full quarter hours.

    Raises what ZoneInfo and datetime raise.
    """
    local = datetime(1970, 1, 1, tzinfo=ZoneInfo(zone)) + timedelta(minutes=15 * local_quarter)
    # Arithmetic with one zone is that of its wall clock.
    offsets = [local.replace(fold=fold).utcoffset() for fold in (0, 1)]
    first, second = (round(each.total_seconds()) if each is not None else 0 for each in offsets)
    return first, second


@lru_cache(maxsize=1_024)
def _day_number(full_date: str) -> int:
    """Days since 1970. Raises ValueError."""
    year, month, day = full_date.split("-")
    return date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
