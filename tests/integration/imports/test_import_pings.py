"""``import-pings`` over real HTTP: every row of real files accounted for, whatever happens on the way."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infrastructure.client.client import RidelogClient
from infrastructure.errors import UserError
from infrastructure.settings.settings import Settings
from tests.support.http.fake_api import FakeApi, Fault, fake_api
from tests.support.servers.serving import ROOT
from tests.support.worlds.command_line import run_here

LINES = ["rider_id,latitude,longitude,event_timestamp_ms"]
LINES += [f"anna,53.{number:03},-6.2,{1_700_000_000_000 + number * 1000}" for number in range(100)]


def run(cwd: Path, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return run_here(("import-pings", *map(str, arguments)), env, cwd)


def run_apart(cwd: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own."""
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py"), "import-pings", *map(str, arguments)],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def imported(
    api: FakeApi,
    cwd: Path,
    *arguments: str | Path,
    by: Callable[..., subprocess.CompletedProcess[str]] = run,
) -> dict[str, Any]:
    """The summary of an import that succeeds."""
    done = by(cwd, "--url", api.url, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert isinstance(summary, dict)
    assert summary["rows"] == summary["accepted"] + summary["duplicates"] + sum(summary["rejected"].values())
    return summary


@pytest.fixture
def track(tmp_path: Path) -> Path:
    path = tmp_path / "track.csv"
    path.write_text("\n".join(LINES) + "\n")
    return path


@pytest.fixture
def real_files() -> Path:
    folder = os.environ.get("RIDELOG_GPS_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("RIDELOG_GPS_DATA names no folder with real tracks")
    return Path(folder)


def test_a_ping_in_the_far_future_is_rejected_at_once(tmp_path: Path) -> None:
    """``None in range(…)`` counted through three thousand million numbers, deaf to Ctrl-C."""
    path = tmp_path / "future.csv"
    path.write_text(f"{LINES[0]}\nanna,52.52,13.405,4102444800000\n{LINES[1]}\n")
    with fake_api() as api:
        done = subprocess.run(
            [sys.executable, str(ROOT / "app.py"), "import-pings", "--url", api.url, "--json", str(path)],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rejected"] == {"timestamp_in_future": 1}
    assert "line 2: timestamp_in_future" in done.stderr


@pytest.mark.parametrize("kind", ["semicolon", "sep", "utf16", "zip"])
def test_what_a_spreadsheet_makes_of_a_csv_is_imported(kind: str, tmp_path: Path) -> None:
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


def test_an_open_quote_does_not_swallow_the_rest_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "quote.csv"
    lines = [*LINES[:3], '"' + LINES[3], *LINES[4:]]
    path.write_text("\n".join(lines) + "\n")
    with fake_api() as api:
        done = run(tmp_path, "--url", api.url, "--json", path)
        assert len(api.pings) == 99
    summary = json.loads(done.stdout)
    assert (summary["rows"], summary["accepted"], summary["rejected"]) == (100, 99, {"invalid_type": 1})
    assert "line 4: invalid_type: no row from line 4 on: a quote" in done.stderr


def test_nothing_of_a_file_its_name_or_a_server_acts_on_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m\x9b\u202e.csv"
    path.write_text(f"{LINES[0]}\nan\x1b]0;x\x07na,1\u202e,2,3\nanna\x1b[2J,1,2,{1_700_000_000_000}\n")
    with fake_api() as api:
        refused = run(tmp_path, "--url", api.url, path)
    missing = run(tmp_path, "--url", "http://127.0.0.1:1", f"{path}\x1b[1m")
    usage = run(tmp_path, "\x1b[31m--nothing", "--batch", "\x1b[31mx", path)
    path.write_text("rider\x1b[31m,b\x9b\n")
    columns = run(tmp_path, "--url", "http://127.0.0.1:1", path)
    for done, code in ((refused, 1), (missing, 1), (usage, 2), (columns, 1)):
        assert done.returncode == code, done.stderr
        said = done.stdout + done.stderr
        assert said
        assert not [one for one in said if unicodedata.category(one) in {"Cc", "Cf", "Cs"} and one != "\n"], repr(said)
    assert "\\u001b" in refused.stderr


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
        summary = imported(api, tmp_path, *options, real_files / name, by=run_apart)
    assert summary["rows"] == rows
    assert summary["accepted"] == len(api.pings) == distinct
    assert summary["rejected"] == ({"invalid_type": broken} if broken else {})
    with rejects.open(newline="") as text:
        refused = list(csv.DictReader(text))
    assert Counter(row["code"] for row in refused) == summary["rejected"]
    with gzip.open(real_files / name, "rt") as text:
        lines = text.read().splitlines()
    for row in refused:
        # The place in the file is that of this very row.
        assert next(csv.reader([lines[int(row["line"]) - 1]])) == list(row.values())[4:]


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.DROPPED_BEFORE, Fault.DROPPED_AFTER, Fault.CUT_SHORT])
def test_a_failing_server_loses_and_doubles_nothing(track: Path, tmp_path: Path, fault: Fault) -> None:
    with fake_api(*[fault] * 5) as api:
        summary = imported(api, tmp_path, "--batch", "10", track)
    assert len(api.pings) == 100
    assert summary["accepted"] + summary["duplicates"] == 100
    assert len(api.requests) == 15, "10 batches, and the 5 that failed once more"
    # How many batches met a fault is chance (one may meet several); each that did was recorded before it was repeated.
    recorded_before = fault in {Fault.DROPPED_AFTER, Fault.CUT_SHORT}
    assert summary["duplicates"] in (range(10, 60, 10) if recorded_before else [0])


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


def test_an_import_of_which_every_row_was_rejected_fails_and_shows_examples(tmp_path: Path) -> None:
    path = tmp_path / "seconds.csv"
    rows = [f"anna,53.{number:03},-6.2,{1_700_000_000 + number}" for number in range(20)]
    path.write_text("\n".join([LINES[0], *rows]))
    with fake_api() as api:
        done = run(tmp_path, "--url", api.url, "--json", path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["rejected"] == {"timestamp_too_old": 20}
    *examples, error = done.stderr.splitlines()
    assert len(examples) == 3
    for number, line in enumerate(examples, start=2):
        assert line.startswith(f"for example {path}, line {number}: timestamp_too_old: ")
    assert error == "error: none of 20 rows was recorded; all were rejected (seconds? milliseconds are expected)"


def test_an_import_of_which_some_rows_were_rejected_succeeds_and_shows_them(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_text("\n".join([*LINES[:3], "anna,0,0,1700000000000", "anna,x,0,1700000000000"]))
    with fake_api() as api:
        done = run(tmp_path, "--url", api.url, path)
    assert done.returncode == 0
    assert [line.split(": ")[:2] for line in done.stderr.splitlines()] == [
        [f"for example {path}, line 4", "null_island"],
        [f"for example {path}, line 5", "invalid_type"],
    ]


def test_the_limits_of_a_smaller_server_are_met(track: Path, tmp_path: Path) -> None:
    with fake_api(max_items=7) as api:
        assert imported(api, tmp_path, track)["accepted"] == 100


def test_paced_rows_arrive_over_time(track: Path, tmp_path: Path) -> None:
    with fake_api() as api:
        summary = imported(api, tmp_path, "--speedup", "100", track)
    assert summary["accepted"] == 100
    assert 0.7 < summary["seconds"] < 20.0
    assert len(api.requests) > 3


def test_the_token_is_shown_to_the_server(track: Path, tmp_path: Path) -> None:
    with fake_api() as api:
        assert run(tmp_path, "--url", api.url, track, RIDELOG_TOKEN="hunter2").returncode == 0
    assert api.tokens == {"Bearer hunter2"}
    # The same environment serves both sides: a serve started in it must not take the token for a mistyped setting.
    assert Settings.load(env={"RIDELOG_TOKEN": "hunter2"}, toml=None).tokens is None


@pytest.mark.parametrize(
    ("fault", "told"),
    [(Fault.FORBIDDEN, "--token"), (Fault.BROKEN, "500"), (Fault.STRANGER, "--url")],
)
def test_a_refusal_is_one_clear_line(track: Path, tmp_path: Path, fault: Fault, told: str) -> None:
    with fake_api(fault) as api:
        done = run(tmp_path, "--url", api.url, track)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert told in done.stderr


def test_a_server_that_is_not_there_is_one_clear_line(track: Path, tmp_path: Path) -> None:
    done = run_apart(tmp_path, "--url", "http://127.0.0.1:1", track)
    assert done.returncode == 1
    assert "is `serve` running there?" in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_patience_ends() -> None:
    with (
        fake_api(*[Fault.BUSY] * 1000) as api,
        RidelogClient(api.url, retry_timeout_s=0.5, connect_timeout_s=0.5) as client,
    ):
        with pytest.raises(UserError, match="503"):
            client.post_pings([{"rider_id": "anna"}])
        assert len(api.requests) > 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"device_id,latitude,longitude,event_timestamp_ms\n", "--rider-column"),
        (b"\x1f\x8b\x08\x00broken", "cannot be read"),
    ],
)
def test_a_file_that_is_no_import_is_one_clear_line(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with fake_api() as api:
        done = run(tmp_path, "--url", api.url, path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert told in done.stderr
    assert api.requests == []


def test_a_file_that_is_cut_off_says_how_far_it_came(track: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.csv.gz"
    places = ((f"53.{n:05},-6.{n * 7919 % 99991}", 1_700_000_000_000 + n) for n in range(30_000))
    long = "\n".join([LINES[0], *(f"anna,{place},{time}" for place, time in places)])
    cut.write_bytes(gzip.compress(long.encode())[:-40_000])
    with fake_api() as api:
        done = run(tmp_path, "--url", api.url, cut)
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert "cannot be read after line" in told
    assert f"{len(api.pings):,} accepted" in told
    assert len(api.pings) > 0
