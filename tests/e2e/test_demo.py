"""``demo``, run as a new user runs it. Each of these tests has a demo of its own, and needs no shared ``serve``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec

from infrastructure.embedded.pid_file import RecordedProcess
from tests.support.servers.serving import ROOT, all_ended
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually


def start_demo(data_dir: Path, *arguments: str) -> subprocess.Popen[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "app.py"), "demo", "--data-dir", str(data_dir), *arguments],
        cwd=data_dir.parent,
        # The settings must have no effect: simulated riders stay out of a real database.
        env=env | {"RIDELOG_POSTGRES_URL": "postgresql://nobody@127.0.0.1:1/none"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes(data_dir: Path) -> dict[str, RecordedProcess]:
    entries = msgspec.json.decode((data_dir / "pids.json").read_bytes(), type=list[RecordedProcess])
    return {entry.name: entry for entry in entries}


def wait_running(demo: subprocess.Popen[str], data_dir: Path) -> dict[str, RecordedProcess]:
    eventually((data_dir / "run.json").exists, within_s=60, what="the demo's serve runs")
    assert demo.poll() is None
    return processes(data_dir)


def test_without_a_terminal_it_prints_speeds_and_exits_0(tmp_path: Path) -> None:
    demo = start_demo(tmp_path / "demo", "--seconds", "10")
    output, errors = demo.communicate(timeout=scaled_s(120))
    assert demo.returncode == 0, errors
    assert "/schema" in output
    assert "/metrics" in output
    assert output.count("path_speed_mps") == 2
    assert output.count("minutes until the hand-over") == 2
    assert "order-" in output
    assert "assigned" in output
    assert "ends after 10 s" in output
    assert "Ctrl-C" not in output, "without a terminal nothing can be pressed"
    assert "fresh" in output
    assert not (tmp_path / "demo" / "run.json").exists()
    assert not (tmp_path / "demo" / "pids.json").exists()


def test_with_a_history_the_riders_of_then_are_read_and_go_on(tmp_path: Path) -> None:
    """Given a demo with ten minutes of history, when it runs, then five minutes ago can be read, as known then too."""
    demo = start_demo(tmp_path / "demo", "--seconds", "60", "--history", "10")
    try:
        wait_running(demo, tmp_path / "demo")
        url = str(msgspec.json.decode((tmp_path / "demo" / "run.json").read_bytes())["http_url"])
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:

            def riders_of(axis: str) -> list[Any]:
                at_ms = int(time.time() * 1000) - 300_000
                answer = http.get("/riders", params={"at": at_ms, "axis": axis})
                return list(answer.json()["items"]) if answer.status_code == 200 else []

            # A read of the past makes its instant final: nothing of before could be recorded any more.
            speed = "/riders/rider-0001/speed"
            eventually(lambda: http.get(speed).status_code == 200, within_s=60, what="the history is recorded")
            eventually(lambda: len(riders_of("known")) == 10, within_s=60, what="the riders of five minutes ago")
            assert len(riders_of("event")) == 10
            seen_ms = int(time.time() * 1000)
            eventually(
                lambda: any(one["event_timestamp_ms"] > seen_ms for one in http.get("/riders").json()["items"]),
                within_s=60,
                what="the riders go on after their past",
            )
        output, errors = demo.communicate(timeout=scaled_s(180))
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == 0, errors
    assert "recorded the last 10 minutes" in output
    assert "cancelled" not in output, "the orders of the past go on"


def test_a_stop_signal_ends_the_demo_and_all_that_it_started(tmp_path: Path) -> None:
    data_dir = tmp_path / "demo"
    demo = start_demo(data_dir)
    started = wait_running(demo, data_dir)
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=scaled_s(60))
    assert demo.returncode == 0, errors
    assert all_ended(started)


def test_a_second_demo_of_a_directory_fails_with_the_log_and_a_killed_one_leaves_nothing_behind(tmp_path: Path) -> None:
    data_dir = tmp_path / "demo"
    first = start_demo(data_dir)
    try:
        started = wait_running(first, data_dir)
        second = start_demo(data_dir)
        _, errors = second.communicate(timeout=scaled_s(60))
        assert second.returncode == 1
        assert "in use by pid" in errors
        assert errors.splitlines()[-1].startswith("error: ")
        assert not all_ended(started), "the first one runs on"
    finally:
        first.kill()
        first.communicate(timeout=scaled_s(10))
    eventually(lambda: all_ended(started), within_s=40, what="serve has stopped everything")
