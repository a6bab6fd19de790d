"""What stages say of themselves, and whose word counts no more."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from infrastructure.event_store.engine import reader_engine
from infrastructure.observability.stages import Progress, StageReporter, forget_host, newest, read_stages


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = reader_engine(postgres_url)
    yield engine
    engine.dispose()


def reported(engine: Engine, instance: str) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO stages VALUES ('speed', :instance, now(), '{\"state\": \"running\"}')"),
            {"instance": instance},
        )


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(timeout=30)
    return process.pid


def test_a_report_says_what_was_given(engine: Engine) -> None:
    StageReporter(engine, "speed").report(Progress(position=7, lag_events=1, delay_s=2.5))
    found = newest(read_stages(engine))["speed"]
    assert (found.connected, found.progress.position, found.progress.delay_s) == (True, 7, 2.5)


def test_the_last_words_of_a_dead_process_do_not_count_once_its_successor_starts(engine: Engine) -> None:
    reported(engine, f"{socket.gethostname()}:{dead_pid()}")
    reported(engine, "another-host:1")
    StageReporter(engine, "speed")
    assert [report.instance for report in read_stages(engine)] == ["another-host:1"]


def test_regression_ready_right_after_a_kill_by_the_report_of_the_killed(engine: Engine) -> None:
    reported(engine, f"{socket.gethostname()}:{dead_pid()}")
    reported(engine, "another-host:1")
    forget_host(engine)
    assert [report.instance for report in read_stages(engine)] == ["another-host:1"]
