"""A stage that stops without a report is late, and a read of a speed does not say that the rider is silent."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from infrastructure.embedded.process_identity import process_start_id
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.ridelog import ridelog as running

TARGET_MS = 1_000


@pytest.fixture(scope="module")
def ridelog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ridelog]:
    with running(tmp_path_factory.mktemp("late") / "data", target_freshness_ms=str(TARGET_MS)) as one:
        yield one


def ping(rider: str) -> dict[str, object]:
    return {
        "rider_id": rider,
        "latitude": 52.5,
        "longitude": 13.4,
        "event_timestamp_ms": time.time_ns() // 1_000_000,
    }


@contextmanager
def stopped(ridelog: Ridelog, program: str) -> Iterator[None]:
    pids = [entry.pid for entry in ridelog.processes_of(program).values()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def is_late(ridelog: Ridelog, stage: str) -> bool:
    return f'ridelog_stage_late{{stage="{stage}"}} 1.0' in ridelog.http.get("/metrics").text


def lag_of(ridelog: Ridelog, stage: str) -> int:
    (line,) = (x for x in json.loads(ridelog.ask("status", "--json").stdout)["stages"] if x["stage"] == stage)
    return int(line["lag_events"])


def silent(ridelog: Ridelog, rider: str) -> str:
    return ridelog.http.get(f"/riders/{rider}/speed").headers["Ridelog-Silent"]


def test_a_silent_rider_is_distinguished_from_a_late_pipeline(ridelog: Ridelog) -> None:
    ridelog.speed_at("anna", ridelog.post([ping("anna")])["position"])
    eventually(lambda: silent(ridelog, "anna") == "rider", what="nothing waits, and the rider sends no more")
    with stopped(ridelog, "projections"):
        ridelog.post([ping("anna")])
        eventually(lambda: is_late(ridelog, "speed"), what="/metrics says that speed is late")
        answer = ridelog.http.get("/riders/anna/speed")
        assert answer.headers["Ridelog-Silent"] == "pipeline"
        assert int(answer.headers["Ridelog-Pipeline-Delay-Ms"]) > 2 * TARGET_MS
        assert ridelog.http.get("/riders/unknown/speed").headers["Ridelog-Silent"] == "pipeline"
        lines = {line["stage"]: line for line in json.loads(ridelog.ask("status", "--json").stdout)["stages"]}
        assert (lines["speed"]["lag_events"], lines["tailer"]["lag_events"]) == (1, 0)
        assert lines["speed"]["lag_seconds"] > 2 * TARGET_MS / 1000
        assert "the pipeline is late" in lines["device"]["state"]
    eventually(lambda: not is_late(ridelog, "speed"), what="it has caught up")
    eventually(lambda: silent(ridelog, "anna") == "rider", what="the rider is silent again")


def test_stopped_analytics_tables_do_not_delay_answers(ridelog: Ridelog) -> None:
    others, speed = (ridelog.processes()[f"projections-{name}"].pid for name in ("others", "speed"))
    assert psutil.Process(others).nice() > psutil.Process(speed).nice()
    os.kill(others, signal.SIGSTOP)
    try:
        ridelog.speed_at("clara", ridelog.post([ping("clara")])["position"])
        eventually(lambda: is_late(ridelog, "analytics") or lag_of(ridelog, "analytics") >= 1, what="they have stopped")
    finally:
        os.kill(others, signal.SIGCONT)
    eventually(lambda: lag_of(ridelog, "analytics") == 0, what="they have caught up")


def test_a_stopped_tailer_is_late_by_its_own_position_in_the_log(ridelog: Ridelog) -> None:
    with stopped(ridelog, "tailer"):
        ridelog.post([ping("berta")])
        eventually(lambda: is_late(ridelog, "tailer"), what="/metrics says that the tailer is late")
        lines = {line["stage"]: line for line in json.loads(ridelog.ask("status", "--json").stdout)["stages"]}
        assert lines["tailer"]["lag_events"] >= 1
    eventually(lambda: not is_late(ridelog, "tailer"), what="it has caught up")


def test_regression_not_ready_from_the_moment_a_stage_is_killed(ridelog: Ridelog) -> None:
    eventually(lambda: ridelog.http.get("/health/ready").status_code == 200, within_s=60, what="it is ready")
    pid = ridelog.processes()["projections-speed"].pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: process_start_id(pid) is None, every_s=0.01, what="it has ended")
    assert ridelog.http.get("/health/ready").status_code == 503
    eventually(lambda: ridelog.http.get("/health/ready").status_code == 200, within_s=60, what="it is ready again")
