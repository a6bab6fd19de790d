"""``import-pings --recorded-at`` on a real Postgres: the log has the pings in the order in which they were received."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from infrastructure.imports.backfill import open_history
from infrastructure.settings.settings import Settings
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually
from tests.support.worlds import tracks
from tests.support.worlds.backfilled import LoggedPing, head_position, pings_in
from tests.support.worlds.command_line import run_here
from tests.unit.domain.given import a_ping

HEADER = "rider_id,latitude,longitude,event_timestamp_ms,seen"
NOON = 1_700_000_000_000
Line = tuple[str, int, int]
"""Rider, event time, reception time."""


def write(path: Path, lines: list[Line]) -> Path:
    path.write_text("\n".join([HEADER, *(f"{rider},52.5,13.4,{event},{seen}" for rider, event, seen in lines)]) + "\n")
    return path


def many(count: int) -> list[Line]:
    chance = random.Random(11)
    times = [NOON + chance.randrange(count * 100) for _ in range(count)]
    return [(f"rider-{n % 40}", each, each + chance.randrange(5_000)) for n, each in enumerate(times)]


def command(*arguments: str | Path, column: str = "seen") -> list[str]:
    return ["import-pings", "--recorded-at", column, *map(str, arguments)]


def environment(url: str | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
    if url is not None:
        kept["RIDELOG_POSTGRES_URL"] = url
    # A token in the environment is not an option on the command line, and is allowed.
    return kept | {"RIDELOG_TOKEN": "hunter2"}


def run(url: str | None, cwd: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run in this process; without a database, which the command then starts, in a separate process."""
    if url is not None:
        return run_here(arguments, environment(url), cwd)
    process = start(url, cwd, arguments)
    output, complaints = process.communicate(timeout=scaled_s(120))
    return subprocess.CompletedProcess(arguments, process.returncode, output, complaints)


def start(url: str | None, cwd: Path, arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "app.py"), *arguments],
        cwd=cwd,
        env=environment(url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def backfilled(url: str | None, cwd: Path, *arguments: str | Path, column: str = "seen") -> dict[str, Any]:
    """The summary of a backfill that succeeds."""
    done = run(url, cwd, command("--json", *arguments, column=column))
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert isinstance(summary, dict)
    assert summary["rows"] == summary["accepted"] + summary["duplicates"] + sum(summary["rejected"].values())
    return summary


def failed(url: str | None, cwd: Path, *arguments: str | Path, code: int = 1) -> str:
    """The last line of a backfill that fails."""
    done = run(url, cwd, command(*arguments))
    complaints = done.stderr
    assert done.returncode == code, complaints
    assert "Traceback" not in complaints
    return complaints.splitlines()[-1] if code == 1 else " ".join(complaints.replace("│", " ").split())


@contextmanager
def recording(url: str, cwd: Path, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A backfill that has recorded something and is not finished."""
    process = start(url, cwd, command(*arguments))

    def recorded() -> bool:
        # If the process has ended, fail with its output instead of a timeout.
        assert process.poll() is None, process.communicate()
        return head_position(url) > 0

    try:
        eventually(recorded, within_s=100, every_s=0.01, what="the first batch is recorded")
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_log_has_all_files_in_the_order_of_reception(postgres_url: str, tmp_path: Path) -> None:
    one: list[Line] = [
        ("anna", NOON, NOON + 7_000),
        ("ben", NOON + 1, NOON + 7_000),
        # Offline for ten days: received long after pings that were taken later.
        ("anna", NOON - 864_000_000, NOON + 9_001),
        ("anna", NOON, NOON + 8_000),
    ]
    # A phone whose clock is ahead, a tie with another file's rows, and the earliest of all in the last file.
    two: list[Line] = [
        ("ben", NOON + 300_000, NOON),
        ("carl", NOON + 2, NOON + 7_000),
        ("ben", NOON + 300_000, NOON + 300_000),
        ("carl", NOON + 300_001, NOON),
        ("anna", NOON - 5, NOON - 4),
    ]
    rejects = tmp_path / "rejects.csv"
    zipped = tmp_path / "two.csv.gz"
    zipped.write_bytes(gzip.compress(write(tmp_path / "two.csv", two).read_bytes()))
    summary = backfilled(
        postgres_url, tmp_path, "--batch", "2", "--rejects", rejects, write(tmp_path / "one.csv", one), zipped
    )
    assert (summary["rows"], summary["accepted"], summary["duplicates"]) == (9, 6, 2)
    assert summary["rejected"] == {"timestamp_in_future": 1}
    assert summary["position"] == 9
    assert pings_in(postgres_url) == [
        LoggedPing("anna", NOON - 5, NOON - 4),
        LoggedPing("ben", NOON + 300_000, NOON),
        LoggedPing("anna", NOON, NOON + 7_000),
        LoggedPing("ben", NOON + 1, NOON + 7_000),
        LoggedPing("carl", NOON + 2, NOON + 7_000),
        LoggedPing("anna", NOON - 864_000_000, NOON + 9_001),
    ]
    with rejects.open(newline="") as text:
        (row,) = csv.DictReader(text)
    assert (row["file"], row["line"], row["rider_id"]) == (str(zipped), "5", "carl")


def test_what_the_log_rejects_is_accounted_for_with_its_row(postgres_url: str, tmp_path: Path) -> None:
    path, rejects = tmp_path / "a.csv", tmp_path / "rejects.csv"
    event_id = "0b7e9d1c-3f6a-4f0e-8f65-2b1f9a8d7c6e"
    tomorrow = time.time_ns() // 1_000_000 + 86_400_000
    lines = [f"anna,52.5,13.4,{NOON},{NOON + 1},{event_id},first", f"anna,52.6,13.4,{NOON},{NOON + 2},{event_id},other"]
    lines += [f"anna,52.5,13.4,{NOON + 1},,,no reception", f"anna,52.5,13.4,{NOON + 2},{tomorrow},,tomorrow"]
    path.write_text(
        "\n".join([f"{HEADER},event_id,note", *lines]).replace("other", "caf\udce9"), errors="surrogateescape"
    )
    summary = backfilled(postgres_url, tmp_path, "--rejects", rejects, path)
    assert summary["rejected"] == {"event_id_conflict": 1, "invalid_type": 1, "timestamp_in_future": 1}
    with rejects.open(newline="", errors="surrogateescape") as text:
        rows = {row["code"]: (row["line"], row["note"]) for row in csv.DictReader(text)}
    assert rows == {
        "event_id_conflict": ("3", "caf\udce9"),
        "invalid_type": ("4", "no reception"),
        "timestamp_in_future": ("5", "tomorrow"),
    }
    assert len(pings_in(postgres_url)) == 1


def test_a_log_that_is_not_empty_is_refused_and_nothing_is_recorded(postgres_url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [("anna", NOON, NOON + 1)])
    assert backfilled(postgres_url, tmp_path, path)["accepted"] == 1
    later = write(tmp_path / "b.csv", [("anna", NOON, NOON + 10)])
    message = failed(postgres_url, tmp_path, later)
    assert "the log has 2 events already" in message
    assert "fresh --data-dir" in message
    assert "--resume" in message
    # With --resume, recorded pings may come before the head of the log; new ones may not.
    assert backfilled(postgres_url, tmp_path, "--resume", path)["duplicates"] == 1
    earlier = write(tmp_path / "c.csv", [("anna", NOON, NOON + 1), ("anna", NOON - 5, NOON), ("ben", NOON, NOON + 20)])
    message = failed(postgres_url, tmp_path, "--resume", earlier)
    assert "the log's order would break: a ping received at 2023-11-14T22:13:20.000Z" in message
    assert "after position 2, recorded at 2023-11-14T22:13:20.001Z" in message
    assert "0 accepted, 0 duplicates, 0 rejected" in message
    assert len(pings_in(postgres_url)) == 1


def test_an_aborted_backfill_is_resumed(postgres_url: str, tmp_path: Path) -> None:
    lines = many(30_000)
    path = write(tmp_path / "many.csv", lines)
    with recording(postgres_url, tmp_path, "--batch", "50", "--json", path) as process:
        process.send_signal(signal.SIGTERM)
        output, complaints = process.communicate(timeout=scaled_s(60))
    assert process.returncode == 130, complaints
    assert "--resume" in complaints
    before = pings_in(postgres_url)
    assert json.loads(output)["accepted"] <= len(before) < len(lines)
    summary = backfilled(postgres_url, tmp_path, "--resume", path)
    after = pings_in(postgres_url)
    assert after[: len(before)] == before
    assert summary["accepted"] == len(after) - len(before)
    assert summary["accepted"] + summary["duplicates"] == len(lines)
    distinct: dict[tuple[str, int], int] = {}
    for rider, event, seen in sorted(lines, key=lambda line: line[2]):
        distinct.setdefault((rider, event), seen)
    assert {(ping.rider_id, ping.event_ms): ping.recorded_ms for ping in after} == distinct


def test_live_pings_during_a_backfill_break_the_order_and_are_named(postgres_url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "many.csv", many(30_000))
    with recording(postgres_url, tmp_path, "--batch", "50", path) as process:
        with open_history(Settings(data_dir=tmp_path, postgres_url=postgres_url)) as live:
            now_ms = time.time_ns() // 1_000_000
            (outcome,) = live.riders.record_pings([a_ping("zoe", now_ms, received_ms=now_ms)])
        complaints = process.communicate(timeout=scaled_s(60))[1]
    assert process.returncode == 1
    message = complaints.splitlines()[-1]
    assert f"would come after position {outcome.position:,}" in message
    assert "gets live pings" in message
    assert "fresh --data-dir" in message
    assert outcome.position == head_position(postgres_url), "nothing was recorded after it"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--url", "http://127.0.0.1:1"), "--url is for pings that are sent"),
        (("--token", "x"), "--token is for pings that are sent"),
        (("--speedup", "2"), "--speedup is for pings that are sent"),
        (("--concurrency", "4"), "--concurrency is for pings that are sent"),
    ],
)
def test_options_that_would_be_ignored_are_rejected(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    path = write(tmp_path / "a.csv", [("anna", NOON, NOON + 1)])
    assert message in failed("postgresql://127.0.0.1:1/none", tmp_path, *arguments, path, code=2)


def test_a_missing_column_or_database_is_one_clear_line(empty_postgres_url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [("anna", NOON, NOON + 1)])
    assert "run `python app.py migrate`" in failed(empty_postgres_url, tmp_path, path)
    assert "--recorded-at" in failed(empty_postgres_url, tmp_path, "--recorded-at", "received", path)
    assert "Postgres" in failed("postgresql://127.0.0.1:1/none", tmp_path, path)


def test_a_truncated_file_records_nothing(postgres_url: str, tmp_path: Path) -> None:
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(write(tmp_path / "many.csv", many(3_000)).read_bytes())[:-5_000])
    message = failed(postgres_url, tmp_path, cut)
    assert "cannot be read after line" in message
    assert message.endswith("(nothing was recorded)")
    assert head_position(postgres_url) == 0


def test_where_nothing_has_run_the_backfill_creates_the_log_for_a_later_serve(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [("anna", NOON, NOON + 1)])
    assert backfilled(None, tmp_path, "--data-dir", tmp_path / "d", path)["accepted"] == 1
    assert not (tmp_path / "d" / "pids.json").exists(), "its Postgres is stopped"
    assert "the log has 2 events already" in failed(None, tmp_path, "--data-dir", tmp_path / "d", path)


def test_real_tracks_are_recorded_when_they_were_received(postgres_url: str, tmp_path: Path) -> None:
    file = tracks.folder() / "mobilitynet_trips.csv.gz"
    summary = backfilled(postgres_url, tmp_path, "--rider-column", "device_id", file, column="received_timestamp_ms")
    assert summary["rows"] == 41_945
    expected: dict[tuple[str, int, str], int] = {}
    rows = sorted(tracks.rows(file), key=lambda row: int(float(row["received_timestamp_ms"])))
    for row in rows:
        fix = tracks.Fix(
            row["device_id"], int(float(row["event_timestamp_ms"])), float(row["latitude"]), float(row["longitude"])
        )
        expected.setdefault((fix.device, fix.t_ms, tracks.event_id(fix)), int(float(row["received_timestamp_ms"])))
    assert (summary["accepted"], summary["duplicates"]) == (len(expected), 41_945 - len(expected))
    found = pings_in(postgres_url)
    # If a ping was received twice, the first reception counts; the order is that of reception.
    assert [(ping.rider_id, ping.event_ms, ping.recorded_ms) for ping in found] == [
        (device, event_ms, received_ms) for (device, event_ms, _), received_ms in expected.items()
    ]
    assert any(ping.recorded_ms < ping.event_ms for ping in found), "real phones are ahead of their reception"
