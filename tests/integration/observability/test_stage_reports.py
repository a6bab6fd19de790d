"""What stages say of themselves, and whose word counts no more."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Engine

from infrastructure.event_store.log_reader import PostgresLog
from infrastructure.observability.stage_reports import (
    StageProgress,
    StageReporter,
    forget_host,
    instance_of,
    newest,
    read_stages,
)
from infrastructure.postgres.engine import reader_engine
from infrastructure.processes.worker_metrics import WorkerMetrics
from projections.core.shard_processor import ShardCounters
from projections.speed import SPEED
from tests.support.reports.dead_process import ended
from tests.support.reports.reported_stages import insert_report


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = reader_engine(postgres_url)
    yield engine
    engine.dispose()


def reported(engine: Engine, instance: str) -> None:
    with engine.begin() as connection:
        insert_report(connection, "speed", instance)


def test_a_report_says_what_was_given(engine: Engine) -> None:
    StageReporter(engine, "speed").report(StageProgress(position=7, lag_events=1, delay_s=2.5))
    found = newest(read_stages(engine))["speed"]
    assert (found.connected, found.progress.position, found.progress.delay_s) == (True, 7, 2.5)


def test_the_last_words_of_a_process_do_not_count_once_it_has_ended(engine: Engine) -> None:
    reported(engine, ended())
    found = newest(read_stages(engine))["speed"]
    assert (found.alive, found.connected) == (False, False)
    reported(engine, "another-host:1:2:3")
    assert newest(read_stages(engine))["speed"].connected


def test_a_pid_that_was_given_again_is_another_process(engine: Engine) -> None:
    reported(engine, f"{instance_of(os.getpid())}0")
    assert not newest(read_stages(engine))["speed"].connected


@pytest.mark.parametrize(
    "instance", ["another-host:1:2:3", f"{socket.gethostname()}:1", f"{socket.gethostname()}:1:2:3"]
)
def test_of_processes_that_cannot_be_seen_from_here_age_alone_tells(engine: Engine, instance: str) -> None:
    reported(engine, instance)
    assert newest(read_stages(engine))["speed"].connected


def test_a_successor_takes_the_place_of_the_dead(engine: Engine) -> None:
    reported(engine, ended())
    reported(engine, "another-host:1:2:3")
    StageReporter(engine, "speed")
    assert [report.instance for report in read_stages(engine)] == ["another-host:1:2:3"]


def test_regression_ready_right_after_a_kill_by_the_report_of_the_killed(engine: Engine) -> None:
    reported(engine, ended())
    reported(engine, f"{socket.gethostname()}:1:2:of a container that is gone")
    reported(engine, "another-host:1:2:3")
    forget_host(engine)
    assert [report.instance for report in read_stages(engine)] == ["another-host:1:2:3"]


def test_that_fences_were_distrusted_is_told_by_the_time_at_which_it_was(engine: Engine) -> None:
    """A count would begin at what a worker found at its start, and show Prometheus no increase."""

    def told_at() -> float | None:
        return REGISTRY.get_sample_value("ridelog_fence_distrusted_timestamp_seconds", {"projection": "speed"})

    counters = ShardCounters()
    runner = SimpleNamespace(counters=counters, lag=lambda head: 0, fences=dict, parked=lambda: 0)
    log = PostgresLog(engine)
    # Due anew at each look.
    observer = WorkerMetrics(SPEED, 1, cast("Any", runner), log, lambda: StageReporter(engine, "speed"), engine, 15_000)
    observer.look()
    before = told_at()
    counters.resets = 3
    observer.look()
    at = told_at()
    assert at is not None
    assert at != before
    observer.look()
    assert told_at() == at
