"""One grammar for instants, tested against an independent statement of it."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from math import floor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.timestamps import (
    MAX_TEXT_CHARACTERS,
    epoch_ms,
    rfc3339_ms,
    utc_datetime,
    utc_day,
)
from infrastructure.timestamps import duration_ms, time_ms, time_or_ago_ms

NOW_MS = 1_790_000_000_000
DIGITS = "0123456789"


class Grammar:
    """RFC 3339 section 5.6, read character by character; ``ms`` is None for a text that is not in it."""

    def __init__(self, text: str) -> None:
        self.rest = text
        try:
            self.ms: int | None = self._date_time()
        except (ValueError, IndexError):
            self.ms = None

    def _take(self, allowed: str) -> str:
        first, self.rest = self.rest[0], self.rest[1:]
        if first not in allowed:
            raise ValueError
        return first

    def _number(self, digits: int, least: int, most: int) -> int:
        value = 0
        for _ in range(digits):
            value = 10 * value + DIGITS.index(self._take(DIGITS))
        if not least <= value <= most:
            raise ValueError
        return value

    def _date_time(self) -> int:
        year = self._number(4, 1, 9999)
        self._take("-")
        month = self._number(2, 1, 12)
        self._take("-")
        day = self._number(2, 1, calendar.monthrange(year, month)[1])
        self._take("Tt ")
        hour = self._number(2, 0, 23)
        self._take(":")
        minute = self._number(2, 0, 59)
        self._take(":")
        second = self._number(2, 0, 60)
        fraction = Fraction(0)
        if self.rest[0] == ".":
            self._take(".")
            decimals = self._take(DIGITS)
            while self.rest[0] in DIGITS:
                decimals += self._take(DIGITS)
            fraction = Fraction(int(decimals), 10 ** len(decimals))
        offset = self._offset()
        if self.rest:
            raise ValueError
        utc = datetime(year, month, day, hour, minute, tzinfo=timezone(offset)) - datetime(1970, 1, 1, tzinfo=UTC)
        if second == 60:
            following = datetime(1970, 1, 1, tzinfo=UTC) + utc + timedelta(minutes=1)
            if (following.day, following.hour, following.minute) != (1, 0, 0):
                raise ValueError
        return floor((Fraction(utc // timedelta(seconds=1)) + second + fraction) * 1000)

    def _offset(self) -> timedelta:
        sign = self._take("Zz+-")
        if sign in "Zz":
            return timedelta(0)
        hours = self._number(2, 0, 23)
        self._take(":")
        offset = timedelta(hours=hours, minutes=self._number(2, 0, 59))
        return offset if sign == "+" else -offset


def said(text: str) -> int | None:
    try:
        return rfc3339_ms(text)
    except ValueError:
        return None


def _two(least: int, most: int) -> st.SearchStrategy[str]:
    return st.integers(least, most).map(lambda value: f"{value:02}")


# Near the grammar: every part is sometimes out of its range, or not there.
NEARLY = st.tuples(
    st.integers(0, 9999).map(lambda year: f"{year:04}") | st.sampled_from(["1969", "2016", "2024"]),
    st.sampled_from(["-"] * 9 + ["", "/"]),
    _two(0, 13) | st.sampled_from(["02", "06", "12"]),
    st.sampled_from(["-"] * 9 + [""]),
    _two(0, 32) | st.sampled_from(["30", "31"]),
    st.sampled_from(["T"] * 9 + ["t", " ", "_", "\xe9", "", "\t"]),
    _two(0, 24) | st.just("23"),
    st.sampled_from([":"] * 9 + [""]),
    _two(0, 60) | st.just("59"),
    st.sampled_from([":"] * 9 + [""]),
    _two(0, 61) | st.just("60"),
    st.sampled_from(["", "."]) | st.text(DIGITS, min_size=1, max_size=20).map(lambda digits: f".{digits}"),
    st.sampled_from(["Z", "z", "", "+00:00", "-00:00", "+24:00", "+0100", "+01", "-23:59", "+05:45:30"])
    | st.tuples(st.sampled_from("+-"), _two(0, 24), _two(0, 60)).map(lambda part: f"{part[0]}{part[1]}:{part[2]}"),
    st.sampled_from([""] * 9 + ["\0", "\n", " ", "Z", "x"]),
).map("".join)


@given(NEARLY | st.text(DIGITS + "TtZz:.+- W", max_size=30))
@example("2016-12-31T23:59:60Z")
@example("2016-12-31T15:59:60.75-08:00")
@example("2026-11-29T09:00:00-00:00")
@example("9999-12-31T23:59:60Z")
@example("0001-01-01T00:00:00+23:59")
def test_exactly_the_times_of_rfc_3339_are_accepted_and_cut(text: str) -> None:
    try:
        expected = Grammar(text).ms
    except OverflowError:
        return  # outside the calendar of the statement, by its offset
    assert said(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-29t09:00:00z",
        "2026-11-29 09:00:00Z",
        "2026-11-29T09:00:00.0Z",
        "2026-11-29T09:00:00.000999999999999999999999Z",
        "2026-11-29T10:00:00+01:00",
        "2026-11-29T08:59:00-00:01",
        "2026-11-30T08:59:00+23:59",
    ],
)
def test_one_instant_in_the_forms_of_rfc_3339(text: str) -> None:
    assert rfc3339_ms(text) == 1_795_942_800_000


def test_a_leap_second_is_the_start_of_the_next_second() -> None:
    midnight = epoch_ms(datetime(2017, 1, 1, tzinfo=UTC))
    assert rfc3339_ms("2016-12-31T23:59:60Z") == midnight
    assert rfc3339_ms("2017-01-01T05:29:60.5+05:30") == midnight + 500
    assert said("2026-11-29T09:00:60Z") is None


@pytest.mark.parametrize(
    "text",
    [
        "2026-W48-7T09:00:00Z",
        "2026-333T09:00:00Z",
        "20261129T090000Z",
        "2026-11-29T0900Z",
        "2026-11-29T09Z",
        "2026-11-29T09:00Z",
        "2026-11-29",
        "2026-11-29Z",
        "2026-11-29T09:00:00",
        "2026-11-29\xe909:00:00Z",
        "2026-11-29  09:00:00Z",
        "2026-11-29\xa009:00:00Z",
        "2026-11-29T09:00:00Z\0",
        "2026-11-29T09:00:00Z\n",
        "2026-11-29T09:00:00Z ",
        "2026-11-29T09:00:00,5Z",
        "2026-11-29T09:00:00.Z",
        "2026-11-29T24:00:00Z",
        "2026-11-29T09:00:00+24:00",
        "2026-11-29T09:00:00+23:60",
        "2026-11-29T09:00:00+01",
        "2026-11-29T09:00:00+01:00:30",
        "2026-11-29T09:00:00 Z",
        "+2026-11-29T09:00:00Z",
        "2026-02-29T09:00:00Z",
        "0000-01-01T00:00:00Z",
        "٢٠٢٦-11-29T09:00:00Z",
        "2026-11-29T09:00:00." + "1" * MAX_TEXT_CHARACTERS + "Z",
        "",
    ],
)
def test_what_is_no_rfc_3339_time_is_refused(text: str) -> None:
    assert said(text) is None
    with pytest.raises(ValueError, match=r".+"):
        time_ms(text)


@pytest.mark.parametrize(("text", "ms"), [("04.9996Z", 4_999), ("04.999Z", 4_999), ("05.000Z", 5_000)])
def test_an_instant_is_cut_to_the_millisecond_and_never_rounded_up(text: str, ms: int) -> None:
    assert time_ms(f"1970-01-01T00:00:{text}") == ms


def test_before_1970_too_an_instant_is_cut_towards_the_past() -> None:
    assert rfc3339_ms("1969-12-31T23:59:59.9996Z") == -1
    assert epoch_ms(datetime(1969, 12, 31, 23, 59, 59, 999_600, tzinfo=UTC)) == -1


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
@example(253_402_300_799_999)
@example(-1)
def test_milliseconds_and_datetimes_convert_without_loss(ms: int) -> None:
    assert epoch_ms(utc_datetime(ms)) == ms


@pytest.mark.parametrize("ms", [2**63 - 1, -(2**63), 253_402_300_800_000])
def test_a_time_outside_the_calendar_is_a_value_error(ms: int) -> None:
    with pytest.raises(ValueError, match="years 1 to 9999"):
        utc_datetime(ms)


@pytest.mark.parametrize("text", ["2026-1-05", "2026-01-5", "٢٠٢٦-01-05", "2026-02-30", "20260105", "2026-01-05\n", ""])
def test_a_day_is_written_in_full_in_ascii(text: str) -> None:
    assert utc_day("2026-01-05") == datetime(2026, 1, 5, tzinfo=UTC)
    with pytest.raises(ValueError, match=r".+"):
        utc_day(text)


@pytest.mark.parametrize(("text", "ms"), [("90s", 90_000), ("5m", 300_000), ("1h", 3_600_000), ("14d", 1_209_600_000)])
def test_a_duration_in_milliseconds(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "d", "14", "14 d", "-1d", "1.5h", "1790000000000", "٣d"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        duration_ms(text)


def test_a_duration_is_so_long_ago() -> None:
    assert time_or_ago_ms("90s", NOW_MS) == NOW_MS - 90_000
    for text in ("1w", "-1h", "١h", "h", "", "1h\n"):
        with pytest.raises(ValueError, match=r".+"):
            time_or_ago_ms(text, NOW_MS)
