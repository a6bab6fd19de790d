"""Refreshes, before ``/metrics`` answers, the gauges whose values must be queried."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, get_args

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.event_store.log_head import read_head
from infrastructure.http.flink_gauges import FlinkGauges
from infrastructure.observability import metrics
from infrastructure.observability.dead_rows import show_dead_rows
from infrastructure.observability.flink_cluster import FlinkCluster
from infrastructure.observability.stage_reports import FLINK_DETAIL, STANDBY, StageReport, newest, read_stages
from infrastructure.postgres.generations import PostgresGenerations
from projections.catalogue import PROJECTIONS
from projections.core.ports import PortUnavailable, SinkRejected
from projections.rebuild.generations import GenerationState

_SIZE = text("SELECT pg_database_size(current_database())")
_STATES: tuple[GenerationState, ...] = tuple(state for state in get_args(GenerationState) if state != "dropped")

Refresh = Callable[[], Awaitable[None]]

PAYMENTS: Final = "payments"
PAYMENTS_EXPECTED_S: Final = 7 * 86_400.0
"""After so long without a report, payments count as removed on purpose."""


def refresher(
    engine: Engine,
    data_dir: Path,
    stages: Sequence[str],
    queued: Callable[[], int],
    flink: FlinkCluster | None = None,
) -> Refresh:
    """For the API, which sees all ``stages``: its queue, the log, the database, the generations, connected stages."""
    flink_gauges = None if flink is None else FlinkGauges(flink)

    def refresh() -> None:
        metrics.QUEUE.set(queued())
        show_disk(data_dir)
        reports: list[StageReport] = []
        try:
            with engine.connect() as connection:
                _show_log(connection)
            _show_generations(engine)
            reports = read_stages(engine)
        except (SQLAlchemyError, PortUnavailable, SinkRejected):
            reports = []  # without Postgres no stage has reported: all count as not connected
        show_connected(expected_stages(stages, reports), reports)
        if flink_gauges is not None:
            flink_gauges.refresh(followed_here(reports))
        show_flink_workers(reports)
        metrics.STANDBYS.set(sum(report.stage == STANDBY and report.connected for report in reports))

    return _in_thread(refresh)


def stage_refresher(engine: Engine, data_dir: Path, stages: Sequence[str]) -> Refresh:
    """For a node without an API: only the gauges of this node, so that no gauge is reported twice."""

    def refresh() -> None:
        show_disk(data_dir)
        try:
            reports = read_stages(engine)
        except SQLAlchemyError:
            reports = []
        show_connected(stages, reports)

    return _in_thread(refresh)


def expected_stages(stages: Sequence[str], reports: Sequence[StageReport]) -> list[str]:
    """``stages``, and payments if they have reported in the last PAYMENTS_EXPECTED_S. Pure.

    Only their own node has the address of the provider. If it is gone, no other metric would show that nothing is paid.
    """
    has_payments = any(one.stage == PAYMENTS and one.age_s < PAYMENTS_EXPECTED_S for one in reports)
    return [*stages, *([PAYMENTS] if has_payments and PAYMENTS not in stages else [])]


def show_connected(stages: Sequence[str], reports: list[StageReport]) -> None:
    found = newest(reports)
    for name in stages:
        report = found.get(name)
        metrics.STAGE_CONNECTED.labels(name).set(report is not None and report.connected)


def followed_here(reports: Sequence[StageReport]) -> set[str]:
    """The projections that a runner of ours follows, not a Flink job. Pure."""
    return {
        report.stage
        for report in reports
        if report.connected and report.stage in PROJECTIONS and not is_on_flink(report)
    }


def is_on_flink(report: StageReport) -> bool:
    """Whether a Python worker of Flink sent the report. Pure."""
    return report.progress.detail.items() >= FLINK_DETAIL.items()


def show_flink_workers(reports: Sequence[StageReport]) -> None:
    """Show what the Python workers of Flink report: no node exposes their own metrics."""
    here = followed_here(reports)
    for name in PROJECTIONS:
        found = [report for report in reports if report.stage == name and report.connected]
        if found and name not in here:
            on_flink = [report.progress.detail for report in found]
            metrics.PARKED_KEYS.labels(name).set(sum(detail.get("parked", 0) for detail in on_flink))
            metrics.REBUILD_DUE.labels(name).set(any("rebuild_due" in detail for detail in on_flink))


def show_disk(folder: Path) -> None:
    """Show the file system under ``folder``, which holds the embedded servers' data, or only logs and metrics."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return  # the folder was removed: the gauges keep their last values
    metrics.DISK_FREE.set(usage.free)
    metrics.DISK_SIZE.set(usage.total)


def _show_log(connection: Connection) -> None:
    head = read_head(connection)
    metrics.LOG_POSITION.set(head.position)
    metrics.LOG.set_value(str(head.log_id))
    metrics.LOG_CLOCK_AHEAD.set(head.clock_ahead_ms / 1000)
    show_dead_rows(connection)
    metrics.DATABASE_BYTES.set(int(connection.execute(_SIZE).scalar_one()))


def _show_generations(engine: Engine) -> None:
    each = PostgresGenerations(engine).all_by_projection()
    for name in PROJECTIONS:
        found = each.get(name, [])
        count = Counter(generation.state for generation in found)
        for state in _STATES:
            metrics.GENERATIONS.labels(name, state).set(count[state])
        for generation in found:
            if generation.active:
                metrics.GENERATION.labels(name).set(generation.number)


def _in_thread(refresh: Callable[[], None]) -> Refresh:
    async def run() -> None:
        await asyncio.to_thread(refresh)

    return run
