"""Real tracks imported over HTTP: every row is accounted for, every window equals an independent computation."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.waiting import eventually
from tests.support.worlds.accounting import read_log
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.ridelog import ridelog as running
from tests.support.worlds.tracks import Fix, Window, event_id, fixes, folder, rows, windows

FILES = ("mobilitynet_trips", "dublin_ebike_escooter", "teleports_labelled_case1")


@pytest.fixture(scope="module")
def ridelog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ridelog]:
    """A separate ridelog: tests that replay the shared log would otherwise replay these tracks each time."""
    with running(tmp_path_factory.mktemp("tracks") / "data") as one:
        yield one


def served(ridelog: Ridelog, device: str) -> Window | None:
    speed = ridelog.speed(quote(device, safe=""), allow_expired="true")
    if speed is None:
        return None
    return Window(speed["pings_in_window"], speed["window_ms"], speed["path_speed_mps"])


def assert_served(ridelog: Ridelog, expected: dict[str, Window]) -> None:
    def differing() -> list[str]:
        return [device for device, window in expected.items() if served(ridelog, device) != window]

    eventually(
        lambda: not differing(), within_s=60, every_s=0.5, what="every window equals its independent computation"
    )
    assert differing() == []


@pytest.mark.parametrize("name", FILES)
def test_an_import_accounts_for_every_row_and_serves_every_window(ridelog: Ridelog, name: str, tmp_path: Path) -> None:
    file = folder() / f"{name}.csv.gz"
    rejects = tmp_path / "rejects.csv"
    done = ridelog.cli("import-pings", "--rider-column", "device_id", "--json", "--rejects", str(rejects), str(file))
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    readable = list(fixes(file))
    unreadable = sum(1 for _ in rows(file)) - len(readable)
    rejected = sum(summary["rejected"].values())
    assert summary["rows"] == len(readable) + unreadable == summary["accepted"] + summary["duplicates"] + rejected
    assert summary["rejected"].get("invalid_type", 0) == unreadable
    with rejects.open(newline="") as text:
        assert len(list(csv.DictReader(text))) == rejected
    # Fixes with the same place and time are one ping; of their other fields the first one counts.
    distinct = {(fix.device, fix.t_ms, event_id(fix)) for fix in readable}
    assert summary["accepted"] == len(distinct)
    again = ridelog.cli("import-pings", "--rider-column", "device_id", "--json", str(file))
    assert json.loads(again.stdout)["accepted"] == 0
    assert_served(ridelog, windows(readable))


def test_windows_do_not_depend_on_order_repeats_or_request_sizes(ridelog: Ridelog) -> None:
    chance = random.Random(20261123)
    found = [
        fix._replace(device=f"shuffled/{fix.device}".replace("/", ":"))
        for name in FILES
        for fix in fixes(folder() / f"{name}.csv.gz")
        if chance.random() < 0.5
    ]
    sent = [as_ping(fix) for fix in found]
    sent += chance.sample(sent, len(sent) // 10)
    chance.shuffle(sent)
    accepted = duplicates = 0
    while sent:
        size = chance.randint(1, 3_000)
        answer = ridelog.post(sent[:size])
        assert answer["rejected"] == []
        accepted += answer["accepted"]
        duplicates += answer["duplicates"]
        del sent[:size]
    distinct = {(fix.device, fix.t_ms, event_id(fix)) for fix in found}
    assert accepted == len(distinct)
    assert_served(ridelog, windows(found))
    recorded = read_log(ridelog).identities
    assert all(recorded[identity] == 1 for identity in distinct)


def as_ping(fix: Fix) -> dict[str, Any]:
    return {
        "rider_id": fix.device,
        "latitude": fix.latitude,
        "longitude": fix.longitude,
        "event_timestamp_ms": fix.t_ms,
    }
