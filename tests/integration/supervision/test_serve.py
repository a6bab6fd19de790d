"""``serve`` end to end: it is ready soon, stops everything, leaves nothing behind and restarts what ends."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
import redis

from infrastructure.embedded.data_dir import read_run_info
from infrastructure.embedded.postgres_cluster import processes_in
from infrastructure.embedded.service import Program, ServiceCommand, last_errors
from tests.support.reports.proofs import whole
from tests.support.servers.serving import ServeProcess, all_ended, serving
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually

ALL = {"postgres", "redis", "kafka", "api", "tailer", "projections"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """A ``serve`` for the tests that leave it running."""
    with serving(tmp_path_factory.mktemp("running")) as one:
        yield one


@pytest.fixture(scope="module")
def used_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of ``serve`` processes that have ended: on it, a start creates and migrates no database."""
    return tmp_path_factory.mktemp("used")


READY_S = 10.0 if whole() else 40.0
"""Ten seconds hold on an idle machine, as in make prove. make test runs other tests at the same time."""


@pytest.mark.proof
def test_it_is_ready_within_seconds_on_a_new_data_directory(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    began = time.monotonic()
    with serving(tmp_path / "new") as one:
        took_s = time.monotonic() - began
        record_property("ready after s", round(took_s, 1))
        assert took_s < (READY_S if whole() else scaled_s(READY_S))
        assert set(one.running()) == ALL
        info = read_run_info(one.data_dir)
        assert info is not None
        assert info.pid == one.process.pid
        assert (one.data_dir / "run.json").stat().st_mode & 0o777 == 0o600
        # For root, PostgreSQL runs as another user, and only the group of that user may traverse the directory.
        assert one.data_dir.stat().st_mode & 0o777 == (0o700 if os.geteuid() else 0o710)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_stops_everything_and_succeeds(used_dir: Path, number: signal.Signals) -> None:
    with serving(used_dir) as one:
        entries = one.running()
        one.process.send_signal(number)
        assert one.process.wait(scaled_s(30)) == 0
        assert all_ended(entries)
        assert processes_in(used_dir / "postgres") == []
        assert read_run_info(used_dir) is None
        assert not (used_dir / "pids.json").exists()


def test_after_kill_9_of_the_supervisor_nothing_is_left_and_the_next_start_works(used_dir: Path) -> None:
    with serving(used_dir) as one:
        entries = one.running()
        one.process.kill()
        one.process.wait(scaled_s(10))
        eventually(lambda: all_ended(entries), what="every child has ended")
        eventually(lambda: not processes_in(used_dir / "postgres"), what="PostgreSQL's backends have ended")
        assert read_run_info(used_dir) is None
    with serving(used_dir) as again:
        assert set(again.running()) == ALL


def test_a_signal_during_the_start_stops_what_has_started(tmp_path: Path) -> None:
    one = ServeProcess(tmp_path)
    try:
        eventually((tmp_path / "pids.json").exists, what="a first server runs")
        one.process.terminate()
        assert one.process.wait(scaled_s(30)) == 0
        assert processes_in(tmp_path / "postgres") == []
    finally:
        one.process.kill()
        one.process.communicate()


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_killed_process_is_restarted_at_the_same_address(running: ServeProcess, name: str) -> None:
    victim = running.running()[name]
    before = read_run_info(running.data_dir)
    assert before is not None
    os.kill(victim.pid, signal.SIGKILL)
    running.replacement(victim)
    assert read_run_info(running.data_dir) == before
    if name == "kafka":
        created = running.data_dir / "topics-made"
        eventually(lambda: created.read_text() == "xx", what="the topics of the restarted broker are recreated")
    if name == "redis":
        with redis.Redis.from_url(before.redis_url) as client:
            eventually(lambda: _pings(client), what="Valkey answers at the old address")
    if name == "postgres":
        eventually(lambda: _connects(before.postgres_url), what="PostgreSQL answers at the old address")


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False


def _connects(url: str) -> bool:
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError:
        return False
    return True


def refusal(data_dir: Path, **settings: str) -> str:
    """What a ``serve`` that must not start says."""
    one = ServeProcess(data_dir, **settings)
    _, said = one.process.communicate(timeout=scaled_s(30))
    assert one.process.returncode == 1
    return said


def test_a_second_serve_on_the_same_data_directory_is_rejected_and_the_first_goes_on(running: ServeProcess) -> None:
    said = refusal(running.data_dir)
    assert f"in use by pid {running.process.pid}" in said
    assert "--data-dir" in said
    assert running.process.poll() is None
    assert not all_ended(running.running())


def test_off_loopback_it_needs_tokens(tmp_path: Path) -> None:
    said = refusal(tmp_path, host="0.0.0.0")
    assert "RIDELOG_TOKENS" in said
    assert not (tmp_path / "postgres").exists()


def test_a_taken_port_is_rejected_before_any_server_starts(running: ServeProcess, tmp_path: Path) -> None:
    info = read_run_info(running.data_dir)
    assert info is not None
    said = refusal(tmp_path / "two", port=info.http_url.rpartition(":")[2])
    assert "choose another with --port" in said
    assert not (tmp_path / "two" / "postgres").exists()


def test_only_the_log_lines_of_the_ended_program_itself_are_quoted(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "unlucky.log").write_text("ERROR of yesterday\n")
    command = ServiceCommand("unlucky", [sys.executable, "-c", "raise SystemExit('out of luck')"], dict(os.environ))
    program = Program(command, tmp_path, tmp_path)
    program.spawn()
    try:
        eventually(lambda: not program.is_alive(), what="it has ended")
        assert last_errors(program) == "out of luck"
    finally:
        program.stop()
