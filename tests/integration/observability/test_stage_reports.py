"""Progress reports of stages, and which of them no longer count."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Engine

from infrastructure.backends import Backends
from infrastructure.observability.stage_reports import (
    REPORT_INTERVAL_S,
    StageProgress,
    StageReporter,
    forget_host,
    instance_of,
    newest,
    read_stages,
)
from infrastructure.operations.worker_metrics import IDLE_REPORT_INTERVAL_S, WorkerMetrics
from infrastructure.settings.settings import Settings
from projections.core.shard_processor import ShardCounters
from projections.speed import SPEED
from tests.support.reports.dead_process import ended
from tests.support.reports.reported_stages import insert_report


def reported(engine: Engine, instance: str) -> None:
    with engine.begin() as connection:
        insert_report(connection, "speed", instance)


def test_a_report_is_read_back_as_it_was_written(engine: Engine) -> None:
    StageReporter(engine, "speed").report(StageProgress(position=7, lag_events=1, delay_s=2.5))
    found = newest(read_stages(engine))["speed"]
    assert (found.connected, found.progress.position, found.progress.delay_s) == (True, 7, 2.5)


def test_the_last_report_of_a_process_does_not_count_once_it_has_ended(engine: Engine) -> None:
    reported(engine, ended())
    found = newest(read_stages(engine))["speed"]
    assert (found.alive, found.connected) == (False, False)
    reported(engine, "another-host:1:2:3")
    assert newest(read_stages(engine))["speed"].connected


def test_a_reused_pid_is_another_process(engine: Engine) -> None:
    reported(engine, f"{instance_of(os.getpid())}0")
    assert not newest(read_stages(engine))["speed"].connected


@pytest.mark.parametrize(
    "instance", ["another-host:1:2:3", f"{socket.gethostname()}:1", f"{socket.gethostname()}:1:2:3"]
)
def test_a_process_that_cannot_be_seen_from_here_is_judged_by_age_alone(engine: Engine, instance: str) -> None:
    reported(engine, instance)
    assert newest(read_stages(engine))["speed"].connected


def test_a_new_process_deletes_the_reports_of_a_dead_one(engine: Engine) -> None:
    reported(engine, ended())
    reported(engine, "another-host:1:2:3")
    StageReporter(engine, "speed")
    assert [report.instance for report in read_stages(engine)] == ["another-host:1:2:3"]


def test_regression_a_killed_process_does_not_look_connected_right_after_the_kill(engine: Engine) -> None:
    reported(engine, ended())
    reported(engine, f"{socket.gethostname()}:1:2:of a container that is gone")
    reported(engine, "another-host:1:2:3")
    forget_host(engine)
    assert [report.instance for report in read_stages(engine)] == ["another-host:1:2:3"]


def test_a_fence_mismatch_is_exported_as_the_time_at_which_it_was_found(engine: Engine) -> None:
    """A counter would start with what a worker found at its start, and Prometheus would see no increase."""

    def exported_at() -> float | None:
        return REGISTRY.get_sample_value("ridelog_fence_distrusted_timestamp_seconds", {"projection": "speed"})

    counters = ShardCounters()
    follower = SimpleNamespace(
        counters=counters, lag=lambda head: 0, fences=dict, shard_count=lambda: 0, parked=lambda: 0
    )
    backends = Backends(Settings(postgres_url=engine.url.render_as_string(hide_password=False)))
    # A report is due at each call.
    worker_metrics = WorkerMetrics(SPEED, 1, cast("Any", follower), backends, lambda: StageReporter(engine, "speed"))
    worker_metrics.report_if_due()
    before = exported_at()
    counters.resets = 3
    worker_metrics.report_if_due()
    at = exported_at()
    assert at is not None
    assert at != before
    worker_metrics.report_if_due()
    assert exported_at() == at
    backends.close()


class DueReporter:
    """A reporter whose last report is ``age_s`` seconds old, and which keeps the lag of each report."""

    stage = "speed"

    def __init__(self) -> None:
        self.age_s = REPORT_INTERVAL_S
        self.lags: list[int] = []

    def due(self, interval_s: float = REPORT_INTERVAL_S) -> bool:
        return self.age_s >= interval_s

    def report(self, progress: StageProgress) -> None:
        self.lags.append(progress.lag_events)


def test_a_worker_reports_every_second_unless_it_is_idle(engine: Engine) -> None:
    """Given a worker that is not behind, when nothing of its report changes, then it reports every third second."""
    counters, reporter, behind = ShardCounters(), DueReporter(), [0]
    follower = SimpleNamespace(
        counters=counters, lag=lambda head: behind[0], fences=dict, shard_count=lambda: 64, parked=lambda: 0
    )
    backends = Backends(Settings(postgres_url=engine.url.render_as_string(hide_password=False)))
    worker_metrics = WorkerMetrics(SPEED, 1, cast("Any", follower), backends, lambda: cast("StageReporter", reporter))

    def reports() -> bool:
        before = len(reporter.lags)
        worker_metrics.report_if_due()
        return len(reporter.lags) > before

    assert reports()
    assert not reports()
    counters.applied += 1
    assert reports(), "an event was applied"
    assert not reports()
    worker_metrics.trouble = "stuck"
    assert reports(), "the watchdog found something"
    assert not reports()
    behind[0] = 5
    reporter.age_s = IDLE_REPORT_INTERVAL_S
    assert reports(), "the interval of an idle worker has passed"
    reporter.age_s = REPORT_INTERVAL_S
    assert reports(), "a worker that is behind is not idle"
    behind[0] = 0
    assert reports()
    assert not reports()
    assert reporter.lags == [0, 0, 0, 5, 5, 0]
    backends.close()
