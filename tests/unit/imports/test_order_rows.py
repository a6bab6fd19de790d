"""The rows of an order history: what a cell may hold, and the reason for which a row is rejected."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.deliveries.past_order import PastOrder
from infrastructure.imports.order_columns import OrderFile, find_order_columns
from infrastructure.imports.order_rows import OrderDefaults, to_order_row

STAGES = ("placed", "completed", "cancelled", "assigned")
OPTIONAL = ("rider", "promised", "items", "preparation_minutes", "city", "time_zone", "currency")
HEADER = ("order", "restaurant", "customer", *STAGES, *OPTIONAL)
PLACED, COMPLETED = "2020-08-01T12:00:00Z", "2020-08-01T12:40:00Z"
PLACED_MS = 1_596_283_200_000
NOW_MS = PLACED_MS + 86_400_000
USUAL = {"order": "o-1", "restaurant": "60.17,24.94", "customer": "60.18, 24.93", "placed": PLACED}
USUAL["completed"] = COMPLETED


PLAIN = OrderDefaults()


Cells = dict[str, str]


def row(cells: Cells, defaults: OrderDefaults = PLAIN) -> PastOrder | str:
    """The order of a usual row with these cells, or the code and message for which it is rejected."""
    source = OrderFile(Path("some.csv"), HEADER, find_order_columns(HEADER, {}, "some.csv"))
    values = USUAL | cells
    found = to_order_row(source, 2, [values.get(name, "") for name in HEADER], defaults, NOW_MS)
    if found.order is not None:
        assert found.problem is None
        return found.order
    assert found.problem is not None
    return f"{found.problem.code}: {found.problem}"


def order(cells: Cells, defaults: OrderDefaults = PLAIN) -> PastOrder:
    found = row(cells, defaults)
    assert isinstance(found, PastOrder), found
    return found


def test_the_five_columns_are_an_order() -> None:
    assert order({}) == PastOrder("o-1", (60.17, 24.94), (60.18, 24.93), "UTC", "EUR", PLACED_MS, PLACED_MS + 2_400_000)


def test_every_optional_column_is_read() -> None:
    cells = {"assigned": "1596283260", "rider": "anna", "promised": "1800", "items": "3.0", "city": "Helsinki"}
    cells |= {"preparation_minutes": "12.5", "time_zone": "Europe/Helsinki", "currency": "SEK"}
    found = order(cells)
    assert (found.assigned_ms, found.rider_id, found.promised_seconds) == (PLACED_MS + 60_000, "anna", 1800)
    assert (found.items, found.preparation_seconds) == (3, 750)
    assert (found.city, found.time_zone, found.currency) == ("Helsinki", "Europe/Helsinki", "SEK")


@pytest.mark.parametrize("missing", ["", "NA", "NaN", "null", "None", "\\N", " "])
def test_what_exports_write_for_no_value_is_no_value(missing: str) -> None:
    optional = ("cancelled", "assigned", "rider", "promised", "items", "preparation_minutes", "city", "time_zone")
    assert order(dict.fromkeys(optional, missing)) == order({})


@pytest.mark.parametrize(
    ("promised", "seconds"),
    [
        ("1800", 1800),
        ("1800.4", 1800),
        ("2020-08-01T12:30:00Z", 1800),
        ("1596285000", 1800),
        ("1596285000000", 1800),
        ("0", 0),
    ],
)
def test_a_promise_is_seconds_or_an_instant(promised: str, seconds: int) -> None:
    assert order({"promised": promised}).promised_seconds == seconds


@pytest.mark.parametrize("place", ["60.17,24.94", "60.17;24.94", "60.17 24.94", "(60.17, 24.94)", "[60.17,24.94]"])
def test_a_place_is_a_pair_of_degrees(place: str) -> None:
    assert order({"restaurant": place}).restaurant == (60.17, 24.94)


def test_times_without_a_zone_have_that_of_the_options_else_of_the_row() -> None:
    local = {"placed": "2020-08-01 15:00:00", "completed": "2020-08-01 15:40:00"}
    city = OrderDefaults("Europe/Helsinki", is_zone_given=True)
    assert order(local, city).placed_ms == PLACED_MS
    assert order(local | {"time_zone": "Europe/Helsinki"}) == order(local, city)
    # An export of a database has UTC, whatever the zone of the city.
    utc = city._replace(naive_zone="UTC")
    found = order({"placed": "2020-08-01 12:00:00", "completed": "2020-08-01 12:40:00"}, utc)
    assert (found.placed_ms, found.time_zone) == (PLACED_MS, "Europe/Helsinki")
    assert "no time zone" in str(row(local))


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"order": " "}, "invalid_type: order is missing"),
        ({"order": "a/b"}, "invalid_order_id: "),
        ({"restaurant": ""}, "invalid_type: the place of the restaurant is missing"),
        ({"customer": "NA"}, "invalid_type: the place of the customer is missing"),
        ({"customer": "home"}, "invalid_type: customer is no pair of latitude and longitude"),
        ({"customer": "60.18,east"}, "invalid_type: customer longitude is not a number: 'east'"),
        ({"customer": "0,0.0"}, "null_island: customer: 0, 0"),
        ({"customer": "nan,24.9"}, "invalid_coordinates: customer"),
        ({"restaurant": "91,24.9"}, "invalid_coordinates: restaurant"),
        ({"placed": ""}, "invalid_type: placed is missing"),
        ({"placed": "1.59628E+9"}, "invalid_type: placed cannot be used: '1.59628E+9' (a spreadsheet cut"),
        ({"placed": "yesterday"}, "invalid_type: placed cannot be used: 'yesterday' (neither"),
        ({"completed": ""}, "no_end: neither completed nor cancelled"),
        ({"cancelled": COMPLETED}, "steps_contradict: it has both a completed and a cancelled time"),
        ({"completed": "2020-08-01T11:59:59Z"}, "steps_contradict: completed is before placed"),
        ({"assigned": "2020-08-01T13:00:00Z"}, "steps_contradict: assigned is after completed"),
        ({"completed": "2020-08-03T12:00:00Z"}, "timestamp_in_future: completed is later than the clock"),
        ({"placed": "1999-12-31T12:00:00Z"}, "steps_contradict: completed is more than 366 days after placed"),
        ({"promised": "-5"}, "out_of_range: promised_seconds must be within"),
        ({"promised": "inf"}, "invalid_type: promised "),
        ({"promised": "2020-08-01T11:00:00Z"}, "out_of_range: promised_seconds"),
        ({"items": "2.5"}, "invalid_type: items is not an integer"),
        ({"items": "many"}, "invalid_type: items is not a number"),
        ({"preparation_minutes": "1,5"}, "invalid_type: preparation is not a number: '1,5' (a decimal comma?"),
        ({"time_zone": "Helsinki"}, "invalid_time_zone: "),
        ({"currency": "Euro"}, "invalid_currency: "),
        ({"rider": "a/b"}, "invalid_rider_id: "),
        ({"order": "caf\udce9"}, "invalid_type: the text is not UTF-8"),
        ({"city": "caf\udce9"}, "invalid_type: city must be a printable string"),
    ],
)
def test_a_row_that_cannot_be_an_order_is_rejected_with_its_reason(cells: dict[str, str], reason: str) -> None:
    assert str(row(cells)).startswith(reason), row(cells)


def test_a_row_with_more_cells_than_the_header_is_rejected() -> None:
    source = OrderFile(Path("some.csv"), HEADER, find_order_columns(HEADER, {}, "some.csv"))
    found = to_order_row(source, 2, ["x"] * (len(HEADER) + 1), OrderDefaults(), NOW_MS)
    assert "the row has 15 cells, the header 14" in str(found.problem)


def test_a_cancelled_order_needs_no_completion() -> None:
    found = order({"completed": "", "cancelled": COMPLETED})
    assert (found.is_completed, found.ended_ms) == (False, PLACED_MS + 2_400_000)


def test_a_column_that_says_utc_has_times_in_utc() -> None:
    header = ("order", "restaurant", "customer", "created_at_utc", "completed")
    source = OrderFile(Path("some.csv"), header, find_order_columns(header, {}, "some.csv"))
    cells = ["o-1", USUAL["restaurant"], USUAL["customer"], "2020-08-01 12:00:00", "2020-08-01 15:40:00"]
    found = to_order_row(source, 2, cells, OrderDefaults("Europe/Helsinki", is_zone_given=True), NOW_MS).order
    assert found is not None
    assert (found.placed_ms, found.ended_ms) == (PLACED_MS, PLACED_MS + 2_400_000)
