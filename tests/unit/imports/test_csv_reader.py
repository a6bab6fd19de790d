"""Cells, columns, pacing and the counts of an import, without any server."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.client.client import FIRST_RETRY_DELAY_S, MAX_RETRY_AFTER_S, MAX_RETRY_DELAY_S, retry_delay_s
from infrastructure.client.messages import PostReceipt, Rejection, body, encode, split
from infrastructure.errors import UserError
from infrastructure.imports.csv_files import BadCell, number
from infrastructure.imports.csv_reader import (
    CsvSource,
    ImportRow,
    find_columns,
    open_source,
    ping_of_cells,
    rows,
    to_row,
)
from infrastructure.imports.importer import EARLY_S, Importer, ImportPlan, Pacer

HEADER = ("rider_id", "latitude", "longitude", "event_timestamp_ms", "accuracy_meters", "speed_mps", "event_id")
SOURCE = CsvSource(Path("some.csv"), HEADER, find_columns(HEADER, {}, "some.csv"))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("1562345678901", 1562345678901),
        ("1562345678901.0", 1562345678901),
        ("1.562345678901e12", 1562345678901),
        ("-5", -5),
        ("2019-07-05T16:54:38.901Z", 1562345678901),
        ("2019-07-05T18:54:38.901+02:00", 1562345678901),
    ],
)
def test_times_that_are_whole_milliseconds(cell: str, expected: int) -> None:
    assert ping_of_cells(("r", "0", "0", cell), SOURCE.columns)["event_timestamp_ms"] == expected


@pytest.mark.parametrize(
    "cell",
    ["1562345678901.5", "nan", "inf", "1e400", "1_562", "soon", "2019-07-05T16:54:38", "9" * 30, "9" * 5000, "١٢٣"],
)
def test_invalid_times_are_rejected(cell: str) -> None:
    with pytest.raises(BadCell, match="time"):
        ping_of_cells(("r", "0", "0", cell), SOURCE.columns)


def test_a_time_that_a_spreadsheet_shortened_is_recognised() -> None:
    with pytest.raises(BadCell, match=r"'1\.79594E\+12'.*a spreadsheet cut"):
        ping_of_cells(("xl", "52.5000", "13.4", "1.79594E+12"), SOURCE.columns)


@pytest.mark.parametrize("cell", ["53.3x85817", "53,38", "5_3", "", "0x10", "٥"])
def test_invalid_numbers_are_rejected(cell: str) -> None:
    with pytest.raises(BadCell, match="latitude is not a number"):
        number(cell, "latitude")


def test_a_row_with_all_cells_and_one_with_the_required_ones() -> None:
    event_id = "0b7e9d1c-3f6a-4f0e-8f65-2b1f9a8d7c6e"
    full = to_row(SOURCE, 2, ["anna", "53.5", "-6.25", "1562345678901", "5", "2.5", event_id])
    assert full.item is not None
    assert json.loads(full.item) == {
        "rider_id": "anna",
        "latitude": 53.5,
        "longitude": -6.25,
        "event_timestamp_ms": 1562345678901,
        "accuracy_meters": 5.0,
        "speed_mps": 2.5,
        "event_id": event_id,
    }
    least = to_row(SOURCE, 3, ["anna", "53.5", "-6.25", "1562345678901", "", " "])
    assert least.item is not None
    assert set(json.loads(least.item)) == {"rider_id", "latitude", "longitude", "event_timestamp_ms"}


@pytest.mark.parametrize(
    ("cell", "said"), [("true", True), ("TRUE", True), ("1", True), ("False", False), ("0", False), ("", None)]
)
def test_a_row_may_say_whether_an_app_made_the_fix(cell: str, said: bool | None) -> None:
    header = (*HEADER[:4], "is_mock")
    columns = find_columns(header, {}, "some.csv")
    assert ping_of_cells(("r", "0", "0", "5", cell), columns).get("is_mock") is said
    named = find_columns((*HEADER[:4], "fake"), {"mock": "fake"}, "some.csv")
    assert ping_of_cells(("r", "0", "0", "5", cell), named).get("is_mock") is said


def test_a_mock_flag_that_is_no_boolean_is_rejected() -> None:
    columns = find_columns((*HEADER[:4], "is_mock"), {}, "some.csv")
    with pytest.raises(BadCell, match="mock is none of true, false, 1 and 0: 'maybe'"):
        ping_of_cells(("r", "0", "0", "5", "maybe"), columns)


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        (["anna", "", "", "1562345678901"], "latitude is missing"),
        (["anna", "53.5"], "longitude is missing"),
        (["", "53.5", "-6.25", "1562345678901"], "rider is missing"),
        (["anna", "53.3x85817", "-6.25", "1562345678901"], "latitude is not a number"),
        (["anna", "53.5", "-6.25", "1562345678901", "wide"], "accuracy is not a number"),
        (["anna", "53", "5", "-6", "25", "1562345678901", "", ""], "8 cells, the header 7"),
        (["an\udcffna", "53.5", "-6.25", "1562345678901"], "not UTF-8"),
    ],
)
def test_a_row_that_cannot_be_sent_has_a_reason(cells: list[str], problem: str) -> None:
    row = to_row(SOURCE, 2, cells)
    assert row.item is None
    assert problem in row.problem


def test_an_unclosed_quote_loses_one_row_and_names_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "quote.csv"
    good = "anna,53.5,-6.25,1562345678901\n" * 20_000
    path.write_text(f'\n{",".join(HEADER[:4])}\n{good}anna,"53.5,-6.25,1562345678901\n{good}')
    read = list(rows(open_source(path, {})))
    rejected = [row for row in read if row.item is None]
    assert [row.problem.split(":")[0] for row in rejected] == ["no valid row at line 20003"]
    assert sum(row.item is not None for row in read[:20_000]) == 20_000
    assert read[-1].item is not None, "what follows is read again"
    assert read[-1].line == 40_003


def test_numbers_that_are_not_finite_are_left_to_the_server() -> None:
    row = to_row(SOURCE, 2, ["anna", "nan", "1e999", "1562345678901"])
    assert row.item is not None
    assert b"NaN" in row.item
    assert b"Infinity" in row.item


def test_missing_columns_are_reported_in_one_line_with_the_option_to_use() -> None:
    with pytest.raises(UserError) as error:
        find_columns(("device_id", "latitude", "lon", "event_timestamp_ms"), {}, "a.csv")
    message = str(error.value)
    assert "rider_id or rider, longitude" in message
    assert "device_id, latitude, lon, event_timestamp_ms" in message
    assert "--rider-column, --longitude-column" in message
    with pytest.raises(UserError, match=r"no column hdop.*--accuracy-column"):
        find_columns(HEADER, {"accuracy": "hdop"}, "a.csv")
    with pytest.raises(UserError, match="2 columns named rider_id"):
        find_columns((*HEADER, "rider_id"), {}, "a.csv")


def test_named_columns_take_precedence_over_default_ones() -> None:
    columns = find_columns(("device", *HEADER), {"rider": "device"}, "a.csv")
    assert columns.rider == 0
    assert columns.latitude == 2
    assert find_columns(("rider", *HEADER[1:4]), {}, "a.csv").accuracy is None


@given(
    st.lists(st.binary(min_size=1, max_size=30), max_size=60),
    st.integers(1, 10),
    st.integers(3, 90),
)
def test_requests_keep_to_both_limits_and_lose_nothing(items: list[bytes], max_items: int, max_bytes: int) -> None:
    parts = list(split(items, max_items, max_bytes))
    assert [item for part in parts for item in part] == items
    for part in parts:
        assert 1 <= len(part) <= max_items
        assert len(part) == 1 or len(body(part)) <= max_bytes


def test_a_ping_is_encoded_as_json() -> None:
    assert msgspec.json.decode(encode({"rider_id": "é", "latitude": 1.5})) == {"rider_id": "é", "latitude": 1.5}


@given(st.integers(0, 100), st.sampled_from([None, "", "0", "3", "nan", "-1", "1e9", "soon"]), st.floats(0.0, 0.99))
def test_retry_delays_are_bounded_and_never_zero(attempt: int, retry_after: str | None, chance: float) -> None:
    delay_s = retry_delay_s(attempt, retry_after, chance)
    assert 0.0 <= delay_s <= MAX_RETRY_AFTER_S + FIRST_RETRY_DELAY_S
    if retry_after == "3":
        assert delay_s >= 3.0
    if retry_after is None:
        assert FIRST_RETRY_DELAY_S / 2 <= delay_s <= MAX_RETRY_DELAY_S


def test_event_time_runs_at_a_multiple_of_the_clock() -> None:
    now = 50.0
    pacer = Pacer(10.0, lambda: now)
    assert pacer.wait_s(1_000_000) == 0.0
    assert pacer.wait_s(1_020_000) == pytest.approx(2.0)
    assert pacer.wait_s(None) == 0.0
    assert pacer.wait_s(900_000) == 0.0, "another rider's track starts earlier"
    assert pacer.wait_s(1_000_000 + int(EARLY_S * 10_000) - 10) == 0.0
    now = 52.0
    assert pacer.wait_s(1_020_000) == 0.0


def test_a_row_of_the_far_future_is_not_waited_for() -> None:
    pacer = Pacer(1.0, lambda: 0.0, latest_ms=2_000_000)
    assert pacer.wait_s(4_102_444_800_000) == 0.0
    assert pacer.wait_s(1_000_000) == 0.0, "it does not start the clock either"
    assert pacer.wait_s(2_000_000) == pytest.approx(1000.0)


def verdict(number: int) -> str:
    """The verdict of the test's server about the row with this number."""
    return ("accepted", "accepted", "duplicate", "null_island", "unsendable")[number % 5]


def answer(items: list[bytes] | tuple[bytes, ...]) -> PostReceipt:
    verdicts = [verdict(int(item)) for item in items]
    rejected = [Rejection(index, word, "") for index, word in enumerate(verdicts) if word == "null_island"]
    return PostReceipt(verdicts.count("accepted"), verdicts.count("duplicate"), rejected, 7 if items else None)


@given(st.lists(st.integers(0, 99), max_size=200), st.integers(1, 20), st.integers(1, 4))
def test_every_row_is_accounted_for_at_any_batch_size(numbers: list[int], batch: int, concurrency: int) -> None:
    given_rows = [
        ImportRow(SOURCE, line, [], None if verdict(each) == "unsendable" else str(each).encode(), None, "bad")
        for line, each in enumerate(numbers)
    ]
    seen: list[int] = []
    importer = Importer(
        lambda items: answer(tuple(items)),
        ImportPlan(batch, concurrency),
        pause=lambda seconds: None,
        on_batch=lambda tally: seen.append(tally.rows),
    )
    tally = importer.run(given_rows)
    verdicts = [verdict(each) for each in numbers]
    assert tally.unaccounted == 0
    assert tally.rows == len(numbers)
    assert tally.accepted == verdicts.count("accepted")
    assert tally.duplicates == verdicts.count("duplicate")
    expected = {"null_island": verdicts.count("null_island"), "invalid_type": verdicts.count("unsendable")}
    assert dict(tally.rejected) == {code: count for code, count in expected.items() if count}
    assert seen == sorted(seen)
