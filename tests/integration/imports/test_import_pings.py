"""``import-pings`` over real HTTP: every row is accounted for, whatever the server does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infrastructure.client.client import RidelogClient
from infrastructure.errors import UserError
from infrastructure.settings.settings import Settings
from tests.support.http.fake_api import Fault, fake_api
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s
from tests.support.worlds.imports import LINES, import_pings, import_pings_apart, imported


def test_a_ping_in_the_far_future_is_rejected_at_once(tmp_path: Path) -> None:
    """``None in range(…)`` once iterated over three billion numbers and could not be interrupted by Ctrl-C."""
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
            timeout=scaled_s(30),
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rejected"] == {"timestamp_in_future": 1}
    assert "line 2: timestamp_in_future" in done.stderr


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.DROPPED_BEFORE, Fault.DROPPED_AFTER, Fault.CUT_SHORT])
def test_a_failing_server_neither_loses_nor_duplicates_pings(track: Path, tmp_path: Path, fault: Fault) -> None:
    with fake_api(*[fault] * 5) as api:
        summary = imported(api, tmp_path, "--batch", "10", track)
    assert len(api.pings) == 100
    assert summary["accepted"] + summary["duplicates"] == 100
    assert len(api.requests) == 15, "10 batches, and 5 repeats"
    # The number of batches that meet a fault is random, and one may meet several. Each was recorded before its repeat.
    recorded_before = fault in {Fault.DROPPED_AFTER, Fault.CUT_SHORT}
    assert summary["duplicates"] in (range(10, 60, 10) if recorded_before else [0])


def test_an_import_with_every_row_rejected_fails_and_shows_examples(tmp_path: Path) -> None:
    path = tmp_path / "seconds.csv"
    rows = [f"anna,53.{number:03},-6.2,{1_700_000_000 + number}" for number in range(20)]
    path.write_text("\n".join([LINES[0], *rows]))
    with fake_api() as api:
        done = import_pings(tmp_path, "--url", api.url, "--json", path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["rejected"] == {"timestamp_too_old": 20}
    *examples, error = done.stderr.splitlines()
    assert len(examples) == 3
    for number, line in enumerate(examples, start=2):
        assert line.startswith(f"for example {path}, line {number}: timestamp_too_old: ")
    assert error == "error: none of 20 rows was recorded; all were rejected (seconds? milliseconds are expected)"


def test_an_import_with_some_rows_rejected_succeeds_and_shows_them(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_text("\n".join([*LINES[:3], "anna,0,0,1700000000000", "anna,x,0,1700000000000"]))
    with fake_api() as api:
        done = import_pings(tmp_path, "--url", api.url, path)
    assert done.returncode == 0
    assert [line.split(": ")[:2] for line in done.stderr.splitlines()] == [
        [f"for example {path}, line 4", "null_island"],
        [f"for example {path}, line 5", "invalid_type"],
    ]


def test_the_limits_of_a_server_with_lower_ones_are_respected(track: Path, tmp_path: Path) -> None:
    with fake_api(max_items=7) as api:
        assert imported(api, tmp_path, track)["accepted"] == 100


def test_paced_rows_arrive_over_time(track: Path, tmp_path: Path) -> None:
    with fake_api() as api:
        summary = imported(api, tmp_path, "--speedup", "100", track)
    assert summary["accepted"] == 100
    assert 0.7 < summary["seconds"] < 20.0
    assert len(api.requests) > 3


def test_the_token_is_sent_to_the_server(track: Path, tmp_path: Path) -> None:
    with fake_api() as api:
        assert import_pings(tmp_path, "--url", api.url, track, RIDELOG_TOKEN="hunter2").returncode == 0
    assert api.tokens == {"Bearer hunter2"}
    # A serve started in the same environment must not mistake the token for a mistyped setting.
    assert Settings.load(env={"RIDELOG_TOKEN": "hunter2"}, toml=None).tokens is None


@pytest.mark.parametrize(
    ("fault", "message"),
    [(Fault.FORBIDDEN, "--token"), (Fault.BROKEN, "500"), (Fault.STRANGER, "--url")],
)
def test_a_refused_request_is_one_clear_line(track: Path, tmp_path: Path, fault: Fault, message: str) -> None:
    with fake_api(fault) as api:
        done = import_pings(tmp_path, "--url", api.url, track)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_a_missing_server_is_one_clear_line(track: Path, tmp_path: Path) -> None:
    done = import_pings_apart(tmp_path, "--url", "http://127.0.0.1:1", track)
    assert done.returncode == 1
    assert "is `serve` running there?" in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_retries_end_after_the_timeout() -> None:
    with (
        fake_api(*[Fault.BUSY] * 1000) as api,
        RidelogClient(api.url, retry_timeout_s=0.5, connect_timeout_s=0.5) as client,
    ):
        with pytest.raises(UserError, match="503"):
            client.post_pings([{"rider_id": "anna"}])
        assert len(api.requests) > 1
