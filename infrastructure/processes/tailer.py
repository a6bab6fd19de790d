"""The tailer process: publishes the event store to Kafka, or waits as a standby while another tailer does."""

from __future__ import annotations

import logging
import threading
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.cdc.in_flight import InFlightTransactions
from infrastructure.cdc.pgoutput import ProtocolError
from infrastructure.cdc.polling_relay import RelayInUse, polling_relay
from infrastructure.cdc.relay_checkpoint import ForeignLog
from infrastructure.cdc.replication_slot import SlotUnusable
from infrastructure.cdc.replication_stream import SlotInUse, StreamLost
from infrastructure.cdc.topic_monitor import TopicMonitor, check_topic
from infrastructure.cdc.wal_relay import wal_relay
from infrastructure.kafka.admin import TopicError
from infrastructure.kafka.clients import bootstrap
from infrastructure.kafka.ports import PublishError
from infrastructure.kafka.topics import topics
from infrastructure.observability import debezium_metrics as debezium
from infrastructure.observability.stage_gauges import forget_tailer
from infrastructure.observability.stage_reports import STANDBY, StageProgress, StageReporter
from infrastructure.postgres.engine import reader_engine
from infrastructure.process_pool import tune_gc
from infrastructure.processes.runtime import run_until_stopped, stop_event
from infrastructure.processes.tailer_metrics import TailerReport
from infrastructure.settings.settings import Settings
from projections.core.ports import PortUnavailable, SinkRejected

log = logging.getLogger("ridelog.tailer")

STEP_TIMEOUT_S = 0.2
STANDBY_INTERVAL_S = 0.25
"""How often a standby tries to take over. The time without a tailer is this interval plus the start of the new one."""
_TRANSIENT_ERRORS = (StreamLost, PublishError, ProtocolError, TopicError, SlotUnusable, ForeignLog, SQLAlchemyError)


class RelayProcess(Protocol):
    """What the process needs of both kinds of relay, WAL and polling."""

    transactions: InFlightTransactions

    def step(self, timeout_s: float) -> int: ...


def main(settings: Settings) -> None:
    """Run until SIGTERM; after any transient error restart from the relay checkpoint."""
    assert settings.postgres_url is not None
    stop = stop_event()
    tune_gc()
    engine = reader_engine(settings.postgres_url, pool_size=2)
    reporter = StageReporter(engine, "tailer")

    def on_failure(reason: str) -> None:
        debezium.lost(settings.slot_name)
        # A server that has become a standby still answers reads of an open session, with old data: each attempt opens
        # connections of its own.
        engine.dispose()
        try:
            # Kafka keeps what it has acknowledged, so the last reported position stays valid.
            reporter.report(msgspec.structs.replace(reporter.last, state=reason))
        except SQLAlchemyError:
            return  # Postgres itself is unavailable: `status` shows this stage as silent

    run_until_stopped(lambda: run(settings, engine, reporter, stop), stop, _TRANSIENT_ERRORS, on_failure, "tailer")


def run(settings: Settings, engine: Engine, reporter: StageReporter, stop: threading.Event) -> None:
    """One attempt: wait while another relay runs, then connect and publish until the first error."""
    standby: StageReporter | None = None
    while not stop.is_set():
        try:
            with _relay(settings, engine, stop) as relay:
                if standby is not None:
                    log.warning("the active tailer has ended: this standby takes over")
                    standby.retire()
                topic_monitor = TopicMonitor(settings, engine)
                topic_monitor.check()
                _check_last_records(settings, engine)
                with topic_monitor.watching():
                    _drive(relay, TailerReport(settings, engine, relay.transactions, reporter), stop)
        except (SlotInUse, RelayInUse) as error:
            if standby is None:
                log.warning("%s: this tailer waits as a standby, and takes over when that one ends", error)
                reporter.retire()
                debezium.waiting(settings.slot_name)
                forget_tailer()
                standby = StageReporter(engine, STANDBY)
            standby.report(StageProgress())
            stop.wait(STANDBY_INTERVAL_S)
    if standby is not None:
        standby.retire()


def _relay(settings: Settings, engine: Engine, stop: threading.Event) -> AbstractContextManager[RelayProcess]:
    if settings.relay == "polling":
        return polling_relay(settings, engine, stop.wait)
    return wal_relay(settings, engine)


def _drive(relay: RelayProcess, report: TailerReport, stop: threading.Event) -> None:
    while not stop.is_set():
        relay.step(STEP_TIMEOUT_S)
        report.report_if_due()


def _check_last_records(settings: Settings, engine: Engine) -> None:
    """Check in a thread that the last records of the topics are of this log.

    The relay does not wait for the check: a standby must take over within seconds.
    """

    def check() -> None:
        try:
            for name in topics(settings).values():
                check_topic(engine, bootstrap(settings), name, settings.topic_partitions)
        except (TopicError, SQLAlchemyError, PortUnavailable, SinkRejected) as error:
            log.warning("the last records of the topics cannot be checked: %s", error)

    threading.Thread(target=check, name="topic-check", daemon=True).start()
