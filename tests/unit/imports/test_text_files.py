"""CSV as spreadsheets, editors and archivers write it: read if that is safe, else rejected with a useful message."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.errors import UserError
from infrastructure.imports.csv_reader import ImportRow, open_source, rows
from infrastructure.imports.csv_records import MAX_LINE_CHARS, MAX_RECORD_LINES, CsvRecords

NAMES = ("rider_id", "latitude", "longitude", "event_timestamp_ms", "accuracy_meters", "speed_mps")
CELLS = [("zoë", f"52.50{number:02}", "13.4", f"{1795946325415 + number}", "5", "3.0") for number in range(30)]


def table(delimiter: str = ",", end: str = "\n") -> str:
    return end.join(delimiter.join(line) for line in (NAMES, *CELLS)) + end


def read(path: Path, names: Mapping[str, str | None] | None = None) -> list[ImportRow]:
    return list(rows(open_source(path, names or {})))


def zipped(members: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


READ = {
    "comma": table().encode(),
    "semicolon": table(";").encode(),
    "tab": table("\t").encode(),
    "bar": table("|").encode(),
    "sep=;": f"sep=;\n{table(';')}".encode(),
    "SEP=tab": f"SEP=\t\r\n{table(chr(9), chr(13) + chr(10))}".encode(),
    'quoted "sep=^"': f'"sep=^"\n{table("^")}'.encode(),
    "UTF-8 with a mark": table().encode("utf-8-sig"),
    "UTF-8 with a mark and sep=;": f"sep=;\n{table(';')}".encode("utf-8-sig"),
    "UTF-16 little-endian": b"\xff\xfe" + table("\t").encode("utf-16-le"),
    "UTF-16 big-endian": b"\xfe\xff" + table(";").encode("utf-16-be"),
    "UTF-32": table().encode("utf-32"),
    "old Mac line breaks": table(end="\r").encode(),
    "empty lines first": b"\n\r\n" + table(";").encode(),
    "gzip": gzip.compress(table(";").encode("utf-16")),
    "zip": zipped({"folder/": b"", "folder/track.csv": table(";").encode(), "__MACOSX/._track.csv": b"x"}),
}


@pytest.mark.parametrize("kind", READ)
def test_what_can_be_read_safely_is_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "track.csv"
    path.write_bytes(READ[kind])
    found = read(path)
    assert [row.problem for row in found] == [""] * len(CELLS)
    assert [tuple(row.cells) for row in found] == CELLS
    assert json.loads(found[0].item or b"")["rider_id"] == "zoë"


def locked_zip() -> bytes:
    """A zip archive whose file is marked as encrypted."""
    packed = bytearray(zipped({"track.csv": table().encode()}))
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(signature) + at] |= 1
    return bytes(packed)


REJECTED = {
    "UTF-16 without a mark": (table().encode("utf-16-le"), "UTF-16 without a byte order mark"),
    "two files": (zipped({"a.csv": b"x", "b.csv": b"y"}), "2 files; unpack it"),
    "no file": (zipped({}), "0 files"),
    "xlsx": (zipped({"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"}), "save it as CSV"),
    "zip in zip": (zipped({"a.zip": zipped({"a.csv": b"x"})}), "unpack it"),
    "encrypted zip": (locked_zip(), "unpack it"),
    "broken zip": (zipped({"a.csv": b"x"})[:-10], "damaged zip"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "save it as CSV"),
    "bzip2": (bz2.compress(table().encode()), "bunzip2"),
    "xz": (lzma.compress(table().encode()), "unxz"),
    "Parquet in gzip": (gzip.compress(b"PAR1" + bytes(100)), "Parquet"),
    "another delimiter": (table("~").encode(), "no column rider_id"),
    "an open quote in the header": (b'rider_id,"latitude,longitude\n' + table().encode(), "header"),
    "nothing": (b"\xef\xbb\xbf\n\n", "is empty"),
    "only sep": (b"sep=;\n", "is empty"),
}


@pytest.mark.parametrize("kind", REJECTED)
def test_what_cannot_be_read_safely_is_rejected_with_a_useful_message(kind: str, tmp_path: Path) -> None:
    data, message = REJECTED[kind]
    path = tmp_path / "track.csv"
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        read(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("cut", [1, 3])
def test_truncated_utf_16_names_the_last_line_that_was_read(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "track.csv"
    path.write_bytes(table().encode("utf-16") + b"\x00\xd8\x00"[:cut])
    with pytest.raises(UserError, match=r"cannot be read after line 31"):
        read(path)


def test_a_decimal_comma_is_rejected_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "track.csv"
    path.write_text(table(";").replace("52.50", "52,50"))
    assert {row.problem for row in read(path)} >= {
        "latitude is not a number: '52,5001' (a decimal comma? write a point)"
    }


def test_a_column_that_the_user_names_determines_the_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "track.csv"
    path.write_text("who;lat, degrees;lon, degrees;when, ms\nanna;1;2;3\n")
    named = {"rider": "who", "latitude": "lat, degrees", "longitude": "lon, degrees", "time": "when, ms"}
    assert [row.problem for row in read(path, named)] == [""]


def test_an_unclosed_quote_loses_only_the_line_that_opened_it(tmp_path: Path) -> None:
    path = tmp_path / "track.csv"
    good = "".join(",".join(line) + "\n" for line in CELLS[:3])
    path.write_text(f'{",".join(NAMES)}\n{good}"{good}')
    found = read(path)
    rejected = [row for row in found if row.problem]
    assert [(row.line, row.problem.split(":")[0]) for row in rejected] == [(5, "no valid row at line 5")]
    assert "before the end of the file" in rejected[0].problem
    assert [row.line for row in found] == [2, 3, 4, 5, 6, 7]


def test_several_unclosed_quotes_lose_one_line_each(tmp_path: Path) -> None:
    path = tmp_path / "track.csv"
    good = "".join(",".join(line) + "\n" for line in CELLS)
    path.write_text(f"{','.join(NAMES)}\n" + "".join(f'anna,"5{good}' for _ in range(20)))
    found = read(path)
    assert len(found) == 20 * len(CELLS)
    assert sum(bool(row.problem) for row in found) == 20


def test_a_quoted_cell_may_span_up_to_the_maximum_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "track.csv"
    for lines in (MAX_RECORD_LINES, MAX_RECORD_LINES + 1):
        note = "\n".join(["x"] * lines)
        path.write_text(f'rider_id,latitude,longitude,event_timestamp_ms,note\nanna,1,2,3,"{note}"\nanna,1,2,4,\n')
        found = read(path)
        assert found[-1].line == lines + 2
        assert found[-1].problem == ""
        assert (len(found) == 2) is (lines == MAX_RECORD_LINES)


def test_an_endless_line_is_one_problem_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "track.csv"
    good = ",".join(CELLS[0])
    path.write_text(f'{",".join(NAMES)}\n"open\n{"y" * (5 * MAX_LINE_CHARS)}\n{good}\n')
    found = read(path)
    assert [row.line for row in found] == [2, 3, 4]
    assert ["characters" in row.problem for row in found] == [True, True, False]


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=1, max_size=4), max_size=12))
def test_what_the_csv_module_writes_is_read_back_unchanged(table: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["rider_id", "latitude"], *table])
    text.seek(0)
    found = [record.cells for record in CsvRecords(text.readline, {"rider_id", "latitude"})]
    assert found == [["rider_id", "latitude"], *table]


@given(st.text(st.sampled_from('ab",;\n\r'), max_size=300))
def test_every_line_is_in_one_record_or_problem(text: str) -> None:
    lines = io.StringIO(text, newline="").readlines()
    empty = next((at for at, line in enumerate(lines) if line.strip()), len(lines))
    covered: list[int] = []
    records = CsvRecords(io.StringIO(text, newline="").readline, {"a", "b"})
    for record in records:
        covered += [*range(record.first_line, record.last_line + 1)]
    assert covered == [*range(empty + 1, len(lines) + 1)]
