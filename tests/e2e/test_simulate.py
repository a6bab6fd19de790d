"""``simulate`` against a running ``serve``, as a user runs it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from infrastructure.client.client import RidelogClient
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually
from tests.support.worlds.backfilled import head_position
from tests.support.worlds.ridelog import Ridelog


def check_simulated(ridelog: Ridelog, summary: dict[str, Any], truth: Path) -> None:
    """Everything that was sent is recorded once, as the truth says."""
    assert summary["sent"] == summary["accepted"] + summary["duplicates"]
    assert summary["rejected"] == {}
    assert summary["refused_commands"] == {}
    assert summary["orders"] == summary["completed"] + summary["cancelled"]
    delivered = [row for row in csv.DictReader(truth.open(encoding="utf-8")) if row["leg"] == "to_customer"]
    completed = {row["order_id"]: row for row in delivered if row["outcome"] == "completed"}
    with RidelogClient(ridelog.info.http_url) as client:
        for order_id, row in completed.items():
            found = client.delivery(order_id)
            assert found is not None
            assert (found.status, found.rider_id) == ("completed", row["rider_id"])
            # The truth says what was reported, to the millisecond.
            assert found.completed_at_ms == int(row["reported_ms"])
    assert len(completed) > 3


def test_simulate_finds_the_running_serve_and_its_counts_add_up(ridelog: Ridelog, tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    arguments = ("--riders", "30", "--fast", "--duration", "1800", "--every", "5", "--truth", str(truth), "--json")
    done = ridelog.cli("simulate", *arguments)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["orders"] > 10
    assert summary["accepted"] > 1_000
    check_simulated(ridelog, summary, truth)


def has_reached(ridelog: Ridelog, position: int, simulating: subprocess.Popen[str]) -> bool:
    return head_position(ridelog.info.postgres_url) > position or simulating.poll() is not None


def test_a_simulation_goes_on_when_the_api_is_killed(ridelog: Ridelog, tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    arguments = ("--riders", "30", "--fast", "--duration", "3600", "--every", "5", "--truth", str(truth), "--json")
    before = head_position(ridelog.info.postgres_url)
    simulating = subprocess.Popen(
        [sys.executable, "app.py", "simulate", *arguments],
        cwd=ridelog.folder,
        env=ridelog.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for position in (before + 500, before + 4_000):
            reached = partial(has_reached, ridelog, position, simulating)
            eventually(reached, within_s=60, what="the simulation is under way")
            assert simulating.poll() is None, "the kill comes in the middle of the run"
            ridelog.kill("api")
        output, errors = simulating.communicate(timeout=scaled_s(240))
    finally:
        simulating.kill()
        simulating.wait()
    assert simulating.returncode == 0, errors
    check_simulated(ridelog, json.loads(output), truth)


def test_two_simulations_of_the_same_riders_follow_each_other(ridelog: Ridelog) -> None:
    """The first leaves no open order: else a rider would have more and more open legs, and then too many."""
    for _ in range(2):
        arguments = ("--riders", "5", "--orders", "100", "--fast", "--duration", "600", "--every", "10", "--json")
        done = ridelog.cli("simulate", *arguments)
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert summary["orders"] == summary["completed"] + summary["cancelled"] > 5
        assert summary["refused_commands"] == {}
