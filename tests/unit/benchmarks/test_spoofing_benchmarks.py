"""The benchmarks of spoofing, small and seeded: honest phones raise no alert, and each attack is found."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import spoofing, spoofing_attacks
from benchmarks.spoofing_files import GpsFile, read_gps
from benchmarks.spoofing_forgers import ATTACKS
from benchmarks.spoofing_pieces import Day, Piece, honest_days, pieces_of
from tests.support.worlds.phone import ride

COLUMNS = (
    "device_id",
    "event_timestamp_ms",
    "latitude",
    "longitude",
    "accuracy_meters",
    "speed_mps",
    "received_timestamp_ms",
)
DAY_S = 86_400


def a_phone(seed: int) -> list[dict[str, Any]]:
    """Four rides of ten minutes, on four days and in four streets."""
    events = [
        event
        for day in range(4)
        for event in ride(
            day * DAY_S, day * DAY_S + 660, every_s=4, speed=6 - day / 4, east_m=900 * day, seed=seed * 10 + day
        )
    ]
    return [data for _, _, data in events]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gps") / "phones.csv"
    with path.open("w", newline="") as text:
        writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for seed in (1, 2):
            writer.writerows({"device_id": f"phone {seed}", **data} for data in a_phone(seed))
        writer.writerow({"device_id": "phone 1", "event_timestamp_ms": 1_790_000_000_000, "latitude": "53.3x"})
    return path


@pytest.fixture(scope="module")
def days(file: Path) -> list[tuple[Piece, Day]]:
    return honest_days(pieces_of([read_gps(file)]))


def test_honest_phones_raise_no_alert(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert spoofing.main([str(file), "--list"]) == 0
    out = capsys.readouterr().out
    assert "phones.csv: 1,320 pings (1 rejected), 0 alerts, 0.00 per 100,000; signals: none" in out


def test_a_teleport_is_listed_with_its_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "jump.csv"
    rows = [data for _, _, data in [*ride(0, 100), *ride(100, 160, east_m=9_000), *ride(160, 260)]]
    with path.open("w", newline="") as text:
        writer = csv.DictWriter(text, ("event_id", "rider_id", *COLUMNS[1:]), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    assert spoofing.main([str(path), "--list"]) == 0
    out = capsys.readouterr().out
    assert "signals: teleport 1" in out
    assert f"evidence from {rows[20]['event_id']}" in out


def test_the_program_runs_by_its_path_from_any_folder(file: Path, tmp_path: Path) -> None:
    program = Path(spoofing.__file__)
    run = subprocess.run(
        [sys.executable, program, str(file)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "0 alerts" in run.stdout


def test_a_file_without_a_rider_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "nameless.csv"
    path.write_text("latitude,longitude,event_timestamp_ms\n53,-6,1790000000000\n")
    assert spoofing.main([str(path)]) == 2
    assert "has no column" in capsys.readouterr().err


def test_pings_are_read_in_the_order_of_their_reception(file: Path) -> None:
    found: GpsFile = read_gps(file)
    for records in found.riders.values():
        received = [record["received_timestamp_ms"] for record in records]
        assert received == sorted(received)
        assert received[0] - records[0]["event_timestamp_ms"] == 200


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_each_attack_that_gains_is_found_and_no_honest_ride_is(attack: Any, days: list[tuple[Piece, Day]]) -> None:
    some = days[::3]
    assert len(some) >= 2
    assert not [piece.name for piece, day in some if spoofing_attacks.alerts_of(day)]
    strength = 0.0 if attack.name == "replay" else attack.gains_from
    found = spoofing_attacks.trial(attack, strength, some, set())
    assert (found.attacked, found.recall, found.precision) == (len(some), 1.0, 1.0), found.signals


def test_an_attack_that_gains_nothing_is_not_counted_as_missed(days: list[tuple[Piece, Day]]) -> None:
    drift = next(attack for attack in ATTACKS if attack.name == "slow drift")
    weak = spoofing_attacks.trial(drift, 0.1, days[:2], set())
    assert weak.recall == 0
    assert spoofing_attacks.is_enough(drift, weak)
    assert not spoofing_attacks.is_enough(drift, weak._replace(strength=drift.gains_from))
