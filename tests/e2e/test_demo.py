"""``demo`` and ``simulate``, run as a new user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from infrastructure.embedded.pid_file import RecordedProcess
from tests.support.servers.serving import ROOT, all_ended
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog


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
    output, errors = demo.communicate(timeout=120)
    assert demo.returncode == 0, errors
    assert "/schema" in output
    assert "/metrics" in output
    assert output.count("path_speed_mps") == 2
    assert "ends after 10 s" in output
    assert "Ctrl-C" not in output, "without a terminal nothing can be pressed"
    assert "fresh" in output
    assert not (tmp_path / "demo" / "run.json").exists()
    assert not (tmp_path / "demo" / "pids.json").exists()


def test_a_stop_signal_ends_the_demo_and_all_that_it_started(tmp_path: Path) -> None:
    data_dir = tmp_path / "demo"
    demo = start_demo(data_dir)
    started = wait_running(demo, data_dir)
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 0, errors
    assert all_ended(started)


def test_a_killed_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    data_dir = tmp_path / "demo"
    demo = start_demo(data_dir)
    started = wait_running(demo, data_dir)
    demo.kill()
    demo.communicate(timeout=10)
    eventually(lambda: all_ended(started), within_s=40, what="serve has stopped everything")


def test_a_failure_shows_the_log_and_exits_non_zero(tmp_path: Path) -> None:
    data_dir = tmp_path / "demo"
    first = start_demo(data_dir)
    try:
        wait_running(first, data_dir)
        second = start_demo(data_dir)
        _, errors = second.communicate(timeout=60)
        assert second.returncode == 1
        assert "in use by pid" in errors
        assert errors.splitlines()[-1].startswith("error: ")
    finally:
        first.terminate()
        first.communicate(timeout=60)


def test_simulate_finds_the_running_serve_and_its_counts_add_up(ridelog: Ridelog) -> None:
    done = ridelog.cli("simulate", "--riders", "30", "--fast", "--duration", "300", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["sent"] == summary["accepted"] + summary["duplicates"]
    assert summary["accepted"] > 1_000
    assert summary["rejected"] == {}
