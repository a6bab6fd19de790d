"""Collects the facts that ``status`` shows from the servers themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from infrastructure import timestamps
from infrastructure.backends import Backends
from infrastructure.cdc.replication_slot import slot_state
from infrastructure.errors import UserError
from infrastructure.event_store.log_head import LogHeadRow, read_head
from infrastructure.kafka.admin import TopicError, missing_topics
from infrastructure.kafka.topics import topics
from infrastructure.observability.flink_cluster import ClusterUnavailable, FlinkCluster
from infrastructure.observability.lag import ingest_delays
from infrastructure.observability.stage_reports import StageReport, newest, read_stages
from infrastructure.postgres import migrations
from infrastructure.postgres import restore_findings as restores
from infrastructure.postgres.city_snapshots import PostgresCitySnapshots
from infrastructure.postgres.payment_handovers import PaymentHandovers
from infrastructure.postgres.projection_tasks import ProjectionTasks
from infrastructure.settings.settings import Settings
from infrastructure.sinks.factory import Stores
from infrastructure.status.flink_line import flink_line, unavailable_line
from infrastructure.status.lines import (
    IngestHead,
    MeasuredStage,
    StatusLine,
    city_line,
    device_line,
    external_line,
    ingest_line,
    kafka_line,
    log_line,
    slot_line,
    stage_line,
    standby_lines,
)
from infrastructure.status.model_line import models_status
from infrastructure.status.payment_line import payment_line
from infrastructure.status.report import StatusReport, status_report
from infrastructure.status.stage_lag import projection_behind, served_generation, tailer_behind
from infrastructure.status.task_lines import running_folds, task_lines
from infrastructure.status.verdict_lines import verdict_lines
from projections.catalogue import PROJECTIONS
from projections.core.ports import PortUnavailable, SinkRejected
from projections.core.projection import Projection


def collect(settings: Settings, *, served: bool = True, open_broker: bool = False) -> StatusReport:
    """Measure every stage.

    ``served``: whether a `serve` is running; if not, its last reports are outdated. ``open_broker``: see RunInfo.
    Raises UserError if Postgres does not answer: without the head of the log no stage can be measured.
    """
    backends = Backends(settings)
    try:
        revision = migrations.revision(backends.postgres_url)
        if not revision.is_current:
            raise UserError(f"the database {revision.fault}")
        return _collect(backends, served, open_broker)
    except (SQLAlchemyError, PortUnavailable, SinkRejected) as error:
        raise UserError(f"Postgres does not answer: {str(error).splitlines()[0]}") from error
    finally:
        backends.close()


def _collect(backends: Backends, served: bool, open_broker: bool) -> StatusReport:
    settings, engine = backends.settings, backends.engine
    now_ms = timestamps.now_ms()
    late_after_s = 2 * settings.target_freshness_ms / 1000
    every = read_stages(engine)
    reports = newest(every)
    external = settings.relay == "external"
    # A report of ridelog's tailer says nothing about another program that has replaced it.
    relayed = None if external else reports.get("tailer")
    with engine.connect() as connection:
        found = read_head(connection)
        slot = slot_state(connection, settings.slot_name)
        found_restores = restores.read_findings(connection)
        before = ingest_delays(connection, found.position, backends.decode)
        behind = tailer_behind(connection, relayed, found)
        measured = {p.name: _measure(backends, connection, p, found) for p in PROJECTIONS.values()}
    models = models_status(engine)
    head = IngestHead(str(found.log_id), found.position, found.recorded_at_ms, found.clock_ahead_ms)
    relay = MeasuredStage(behind.events, behind.seconds) if behind is not None else None
    tailer = external_line() if external else stage_line("tailer", relayed, head, late_after_s, relay, served=served)
    projections = [
        stage_line(name, reports.get(name), head, late_after_s, stage, served=served)
        for name, stage in measured.items()
    ]
    ingest = ingest_line(before, [r for r in every if r.stage == "ingest"] if served else [], late_after_s)
    lines = [
        device_line(before, now_ms, late_after_s, [ingest, *([] if external else [tailer]), *projections]),
        ingest,
        log_line(head, found_restores),
        slot_line(settings.slot_name, slot, _relay(settings, relayed), found.position),
        tailer,
        *standby_lines(every if served else []),
        _kafka(settings, relayed if served else None, tailer.lag_seconds, open_broker),
        *projections,
        *task_lines(ProjectionTasks(engine).open(), now_ms, running_folds(every)),
        _city(backends, reports, now_ms, served=served),
        _payments(backends, reports, late_after_s, served=served),
        *_flink(settings),
        *verdict_lines(engine, reports, models, settings.city_snapshots_keep),
    ]
    return status_report(head.log_id, lines, models)


def _city(backends: Backends, reports: Mapping[str, StageReport], now_ms: int, *, served: bool) -> StatusLine:
    newest_city = PostgresCitySnapshots(backends.engine, backends.settings.city_snapshots_keep).newest()
    if newest_city is None:
        return city_line(reports.get("city"), None, None, served=served)
    age_s = max(0.0, (now_ms - newest_city.as_of_ms) / 1_000)
    return city_line(reports.get("city"), newest_city.number, age_s, served=served)


def _payments(
    backends: Backends, reports: Mapping[str, StageReport], late_after_s: float, *, served: bool
) -> StatusLine:
    tally = PaymentHandovers(backends.engine).tally()
    has_provider = backends.settings.payments_url is not None
    return payment_line(reports.get("payments") if served else None, tally, late_after_s, has_provider=has_provider)


def _flink(settings: Settings) -> list[StatusLine]:
    if settings.flink_url is None:
        return []
    try:
        jobs = FlinkCluster(settings.flink_url, settings.topic_prefix).jobs()
    except ClusterUnavailable as error:
        return [unavailable_line(str(error))]
    return [flink_line(jobs, settings.flink_checkpoint_ms / 1_000)]


def _relay(settings: Settings, tailer: StageReport | None) -> str:
    """The kind of relay as the tailer reports it; before its first report, as the settings say."""
    return str(tailer.progress.detail.get("relay", settings.relay)) if tailer is not None else settings.relay


def _kafka(settings: Settings, tailer: StageReport | None, delay_s: float | None, open_broker: bool) -> StatusLine:
    if settings.kafka_bootstrap is None:
        return kafka_line("not running", "start `python app.py serve`", None, None)
    names = list(topics(settings).values())
    try:
        # Only found, not created: their partitions are fixed for their life, and this shell may have other settings.
        missing = missing_topics(settings.kafka_bootstrap, names, settings.topic_partitions)
    except TopicError as error:
        return kafka_line(str(error), "start it; nothing is lost, because the tailer waits for it", tailer, delay_s)
    if missing:
        advice = "start `python app.py serve`, which creates them; nothing is lost"
        return kafka_line(f"there are no topics {', '.join(missing)}", advice, tailer, delay_s)
    state = f"{', '.join(names)} by {settings.topic_partitions} partitions"
    if open_broker:
        # Part of the state, not advice: advice would make `status` exit with 1 as long as it is so.
        state += "; open to each local user in spite of RIDELOG_TOKENS"
    return kafka_line(state, "", tailer, delay_s)


def _measure(
    backends: Backends, connection: Connection, projection: Projection[Any], head: LogHeadRow
) -> MeasuredStage:
    """Measure the served generation in its sink; an empty measurement if the sink does not answer."""
    live = served_generation(backends.engine, projection)
    if live is None or backends.settings.redis_url is None:
        return MeasuredStage()
    fold_changed = not live.is_of(projection)
    # Status only reads, so it also works on a standby that takes no writes.
    stores = Stores(backends.engine, backends.cache)
    try:
        behind = projection_behind(connection, stores, projection, live.number, head)
        shards = range(len(head.shards_of(projection.stream)))
        parked = sum(len(marks) for marks in stores.sink(projection, live.number).parked(shards).values())
    except (PortUnavailable, SinkRejected):
        return MeasuredStage(fold_changed=fold_changed)
    return MeasuredStage(behind.events, behind.seconds, parked, fold_changed, behind.foreign_shards)
