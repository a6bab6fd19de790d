"""``import-pings`` with real and damaged files: every row is accounted for, and every damage is named."""

from __future__ import annotations

import csv
import gzip
import io
import json
import unicodedata
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from tests.support.http.fake_api import fake_api
from tests.support.worlds.imports import LINES, import_pings, import_pings_apart, imported


@pytest.mark.parametrize("kind", ["semicolon", "sep", "utf16", "zip"])
def test_a_csv_as_a_spreadsheet_saves_it_is_imported(kind: str, tmp_path: Path) -> None:
    text = "\n".join(LINES) + "\n"
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("track.csv", text)
    data = {
        "semicolon": text.replace(",", ";").encode(),
        "sep": f"sep=;\n{text.replace(',', ';')}".encode(),
        "utf16": text.encode("utf-16"),
        "zip": zipped.getvalue(),
    }
    path = tmp_path / "track"
    path.write_bytes(data[kind])
    with fake_api() as api:
        assert imported(api, tmp_path, path)["accepted"] == 100


def test_an_unclosed_quote_does_not_swallow_the_rest_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "quote.csv"
    lines = [*LINES[:3], '"' + LINES[3], *LINES[4:]]
    path.write_text("\n".join(lines) + "\n")
    with fake_api() as api:
        done = import_pings(tmp_path, "--url", api.url, "--json", path)
        assert len(api.pings) == 99
    summary = json.loads(done.stdout)
    assert (summary["rows"], summary["accepted"], summary["rejected"]) == (100, 99, {"invalid_type": 1})
    assert "line 4: invalid_type: no valid row at line 4: a quote" in done.stderr


def test_control_characters_in_a_file_or_its_name_never_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m\x9b\u202e.csv"
    path.write_text(f"{LINES[0]}\nan\x1b]0;x\x07na,1\u202e,2,3\nanna\x1b[2J,1,2,{1_700_000_000_000}\n")
    with fake_api() as api:
        rejected = import_pings(tmp_path, "--url", api.url, path)
    missing = import_pings(tmp_path, "--url", "http://127.0.0.1:1", f"{path}\x1b[1m")
    usage = import_pings(tmp_path, "\x1b[31m--nothing", "--batch", "\x1b[31mx", path)
    path.write_text("rider\x1b[31m,b\x9b\n")
    columns = import_pings(tmp_path, "--url", "http://127.0.0.1:1", path)
    for done, code in ((rejected, 1), (missing, 1), (usage, 2), (columns, 1)):
        assert done.returncode == code, done.stderr
        output = done.stdout + done.stderr
        assert output
        unsafe = [one for one in output if unicodedata.category(one) in {"Cc", "Cf", "Cs"} and one != "\n"]
        assert not unsafe, repr(output)
    assert "\\u001b" in rejected.stderr


def independent_count(path: Path) -> tuple[int, int, int]:
    """Rows, rows without a usable position, and distinct (device, time, position), by plain Python."""
    rows, broken, distinct = 0, 0, set()
    with gzip.open(path, "rt", newline="") as text:
        for row in csv.DictReader(text):
            rows += 1
            try:
                place = float(row["latitude"]), float(row["longitude"])
            except ValueError:
                broken += 1
                continue
            distinct.add((row["device_id"], row["event_timestamp_ms"], place))
    return rows, broken, len(distinct)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("mobilitynet_trips.csv.gz", 41_945),
        ("dublin_ebike_escooter.csv.gz", 26_297),
        ("teleports_labelled_case1.csv.gz", 89),
    ],
)
def test_every_row_of_real_tracks_is_accounted_for(real_files: Path, tmp_path: Path, name: str, rows: int) -> None:
    expected_rows, broken, distinct = independent_count(real_files / name)
    assert expected_rows == rows
    rejects = tmp_path / "rejects.csv"
    with fake_api() as api:
        options = ("--rider-column", "device_id", "--rejects", rejects)
        summary = imported(api, tmp_path, *options, real_files / name, by=import_pings_apart)
    assert summary["rows"] == rows
    assert summary["accepted"] == len(api.pings) == distinct
    assert summary["rejected"] == ({"invalid_type": broken} if broken else {})
    with rejects.open(newline="") as text:
        rejected = list(csv.DictReader(text))
    assert Counter(row["code"] for row in rejected) == summary["rejected"]
    with gzip.open(real_files / name, "rt") as text:
        lines = text.read().splitlines()
    for row in rejected:
        # The line number is that of exactly this row.
        assert next(csv.reader([lines[int(row["line"]) - 1]])) == list(row.values())[4:]


def test_several_files_plain_and_gzip_and_a_second_import(track: Path, tmp_path: Path) -> None:
    zipped = tmp_path / "other.csv.gz"
    with gzip.open(zipped, "wt") as text:
        text.write("\ufeff" + "\r\n".join(LINES).replace("anna", "ben").replace("rider_id", "rider"))
    with fake_api() as api:
        assert imported(api, tmp_path, track, zipped)["accepted"] == 200
        assert imported(api, tmp_path, zipped, track, track)["duplicates"] == 300


def test_rejects_can_be_corrected_and_imported_again(tmp_path: Path) -> None:
    one, two, rejects = tmp_path / "one.csv", tmp_path / "two.csv", tmp_path / "rejects.csv"
    header = "rider_id,latitude,longitude,event_timestamp_ms,note"
    one.write_text(f"{header}\nanna,0,0,1700000000000,here\nanna,2,2,1700000000001,there\n")
    two.write_text("longitude,latitude,event_timestamp_ms,rider_id\n200,1,1700000000001,ben\n1,x,1700000000002,ben\n")
    with fake_api() as api:
        summary = imported(api, tmp_path, "--rejects", rejects, one, two)
        assert summary["rejected"] == {"invalid_coordinates": 1, "invalid_type": 1, "null_island": 1}
        assert rejects.read_text().splitlines()[0] == (
            "file,line,code,detail,rider_id,latitude,longitude,event_timestamp_ms,note"
        )
        corrected = rejects.read_text().replace(",0,0,", ",1,1,").replace(",200,", ",20,").replace(",x,", ",2,")
        rejects.write_text(corrected)
        again = imported(api, tmp_path, "--rejects", tmp_path / "more.csv", rejects)
        assert again["accepted"] == 3, (tmp_path / "more.csv").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"device_id,latitude,longitude,event_timestamp_ms\n", "--rider-column"),
        (b"\x1f\x8b\x08\x00broken", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_clear_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with fake_api() as api:
        done = import_pings(tmp_path, "--url", api.url, path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert api.requests == []


def test_a_truncated_file_names_the_last_line_that_was_read(track: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.csv.gz"
    places = ((f"53.{n:05},-6.{n * 7919 % 99991}", 1_700_000_000_000 + n) for n in range(30_000))
    long = "\n".join([LINES[0], *(f"anna,{place},{time}" for place, time in places)])
    cut.write_bytes(gzip.compress(long.encode())[:-40_000])
    with fake_api() as api:
        done = import_pings(tmp_path, "--url", api.url, cut)
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert "cannot be read after line" in message
    assert f"{len(api.pings):,} accepted" in message
    assert len(api.pings) > 0
