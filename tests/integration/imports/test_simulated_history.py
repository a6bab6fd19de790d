"""``simulate --history`` on a real Postgres: riders and deliveries are in the log in one order of reception."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from domain.events.contracts import Codec
from infrastructure.settings.postgres_url import sqlalchemy_url
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually
from tests.support.worlds.backfilled import head_position
from tests.support.worlds.command_line import run_here

CODEC = Codec(LocalSchemaIds())
SMALL = ("--history", "24h", "--riders", "12", "--orders", "4", "--every", "60")


def environment(url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
    return kept | {"RIDELOG_POSTGRES_URL": url}


def simulated(url: str, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_here(["simulate", *SMALL, *arguments], environment(url), cwd)


def events_of(url: str) -> list[tuple[int, str, int, int, dict[str, Any]]]:
    """Position, stream, version, recorded_at in epoch milliseconds, and record of each event."""
    engine = create_engine(sqlalchemy_url(url))
    query = text(
        "SELECT position, stream, version, (extract(epoch FROM recorded_at) * 1000)::bigint, event_type, payload "
        "FROM events ORDER BY position"
    )
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    engine.dispose()
    return [
        (position, stream, version, recorded_ms, {"record": record, **(CODEC.decode(bytes(payload)) or {})})
        for position, stream, version, recorded_ms, record, payload in rows
    ]


def test_both_streams_are_in_one_order_of_reception(postgres_url: str, tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    done = simulated(postgres_url, tmp_path, "--json", "--truth", str(truth))
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    events = events_of(postgres_url)
    assert [each[0] for each in events] == list(range(1, len(events) + 1))
    recorded = [each[3] for each in events]
    assert recorded == sorted(recorded)
    assert recorded[-1] < time.time_ns() // 1_000_000
    # Each event is recorded as of the reception of its ping or command.
    for _, _, _, recorded_ms, data in events:
        assert recorded_ms == (data.get("received_timestamp_ms") or data["event_timestamp_ms"])
    streams = [each[1] for each in events]
    assert sum(before != after for before, after in pairwise(streams)) > 100, "they are mixed"
    records = Counter(each[4]["record"] for each in events)
    assert records["GpsPing"] == summary["accepted"] > 1_000
    assert records["DeliveryPlaced"] == summary["orders"] > 10
    assert records["DeliveryCompleted"] == summary["completed"] > 5
    assert records["DeliveryPlaced"] == records["DeliveryCompleted"] + records["DeliveryCancelled"]
    assert records["LegStarted"] == records["LegEnded"]
    assert summary["rejected"] == {}
    delivered = {each[4]["order_id"]: each[4] for each in events if each[4]["record"] == "DeliveryCompleted"}
    rows = [row for row in csv.DictReader(truth.open(encoding="utf-8")) if row["leg"] == "to_customer"]
    assert {row["order_id"]: int(row["reported_ms"]) for row in rows if row["outcome"] == "completed"} == {
        order_id: data["event_timestamp_ms"] for order_id, data in delivered.items()
    }


def test_a_log_that_is_not_empty_is_refused_and_nothing_is_recorded(postgres_url: str, tmp_path: Path) -> None:
    assert simulated(postgres_url, tmp_path).returncode == 0
    before = head_position(postgres_url)
    done = simulated(postgres_url, tmp_path)
    assert done.returncode == 1
    assert f"the log has {before:,} events already" in done.stderr
    assert "fresh --data-dir" in done.stderr
    assert "--resume" not in done.stderr
    assert head_position(postgres_url) == before


def test_an_interrupted_history_says_what_it_has_recorded(postgres_url: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "app.py"), "simulate", "--history", "100d", "--riders", "40"],
        cwd=tmp_path,
        env=environment(postgres_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: head_position(postgres_url) > 0, within_s=100, what="the first batch is recorded")
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=scaled_s(60))
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    last = complaints.splitlines()[-1]
    assert "interrupted" in last
    assert "fresh --data-dir" in last
    assert "pings" in last


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fast",), "leave out --fast"),
        (("--duration", "60"), "leave out --fast"),
        (("--url", "http://127.0.0.1:1"), "leave out --fast"),
        (("--history", "5m"), "between 1 hour and 400 days"),
        (("--history", "900d"), "between 1 hour and 400 days"),
        (("--history", "tomorrow"), "not a duration"),
    ],
)
def test_options_that_do_not_fit_are_rejected(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = simulated("postgresql://127.0.0.1:1/none", tmp_path, *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
