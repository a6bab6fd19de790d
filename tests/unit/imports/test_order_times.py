"""The times of an order history: every usual form is read exactly, and a doubtful one is refused."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infrastructure.imports.order_times import BadTime, history_time_ms

NOON_MS = 1_596_283_200_000
"""2020-08-01 12:00:00 UTC."""


@pytest.mark.parametrize(
    "text",
    [
        "1596283200",
        "1596283200.0",
        "1596283200000",
        "1596283200000.0",
        "1.596283200e9",
        "2020-08-01T12:00:00Z",
        "2020-08-01 12:00:00+00:00",
        "2020-08-01 12:00:00+00",
        "2020-08-01 12:00:00.000 UTC",
        "2020-08-01T15:00:00+0300",
        "2020-08-01T12:00Z",
        "2020-08-01t12:00:00z",
    ],
)
def test_every_usual_form_names_the_same_instant(text: str) -> None:
    assert history_time_ms(text, None) == NOON_MS


@pytest.mark.parametrize(
    ("text", "ms"),
    [("1596283200.25", 250), ("2020-08-01 12:00:00.2509Z", 250), ("2020-08-01T12:00:00,25Z", 250)],
)
def test_fractions_are_cut_to_milliseconds(text: str, ms: int) -> None:
    assert history_time_ms(text, None) == NOON_MS + ms


def test_a_time_without_a_zone_is_a_local_one() -> None:
    assert history_time_ms("2020-08-01 15:00:00", "Europe/Helsinki") == NOON_MS
    assert history_time_ms("2020-08-01T12:00", "UTC") == NOON_MS
    # Its own zone wins.
    assert history_time_ms("2020-08-01T12:00:00Z", "Europe/Helsinki") == NOON_MS
    with pytest.raises(BadTime, match="no time zone: name that of the file with --naive-zone or --time-zone"):
        history_time_ms("2020-08-01 15:00:00", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2020-10-25 03:30:00", "in Europe/Helsinki clocks showed this time twice"),
        ("2020-03-29 03:30:00", "in Europe/Helsinki clocks never showed this time"),
        ("2020-02-30 12:00:00", "day is out of range|day"),
        ("01.08.2020 12:00", "neither epoch seconds"),
        ("08/01/2020 12:00", "neither epoch seconds"),
        ("1.79594E+12", "a spreadsheet cut its last digits"),
        ("1.5962832e9", "a spreadsheet cut its last digits"),
        ("44044.5", "not an integer"),
        ("44044", "a spreadsheet's day number"),
        ("1596283200000000", "neither epoch seconds nor milliseconds of the years 2000 to 2099"),
        ("-5", "neither epoch seconds"),
        ("9" * 70, "longer than 64"),
        ("٢٠٢٠", "neither epoch seconds"),
        ("nan", "neither epoch seconds"),
    ],
)
def test_a_doubtful_time_is_refused_with_its_reason(text: str, message: str) -> None:
    with pytest.raises(BadTime, match=message):
        history_time_ms(text, "Europe/Helsinki")


@given(
    st.integers(946_684_800, 1_893_456_000),
    st.sampled_from(["Europe/Helsinki", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"]),
)
@settings(max_examples=50)
def test_a_local_time_that_clocks_showed_once_is_exact(epoch_s: int, zone: str) -> None:
    local = datetime.fromtimestamp(epoch_s, ZoneInfo(zone))
    text = local.strftime("%Y-%m-%d %H:%M:%S")
    if local.replace(fold=1 - local.fold).utcoffset() != local.utcoffset():
        with pytest.raises(BadTime, match="twice"):
            history_time_ms(text, zone)
    else:
        assert history_time_ms(text, zone) == epoch_s * 1_000
