"""The tailer as a program: from the event store to Kafka, or in wait until the one that does it ends."""

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
from infrastructure.observability.stage_reports import STANDBY, StageProgress, StageReporter
from infrastructure.postgres.engine import reader_engine
from infrastructure.process_pool import tune_gc
from infrastructure.processes.runtime import run_until_stopped, stop_event
from infrastructure.processes.tailer_metrics import TailerReport
from infrastructure.settings.settings import Settings
from projections.core.ports import PortUnavailable, SinkRejected

log = logging.getLogger("ridelog.tailer")

IDLE_S = 0.2
STANDBY_INTERVAL_S = 0.25
"""How often a standby tries to take over: the time without a tailer is this, and the new one's start."""
_PASSING = (StreamLost, PublishError, ProtocolError, TopicError, SlotUnusable, ForeignLog, SQLAlchemyError)


class RelayProcess(Protocol):
    """What both kinds are to this program."""

    transactions: InFlightTransactions

    def step(self, timeout_s: float) -> int: ...


def main(settings: Settings) -> None:
    """Run until SIGTERM; after any error start again from the mark."""
    assert settings.postgres_url is not None
    stop = stop_event()
    tune_gc()
    engine = reader_engine(settings.postgres_url, pool_size=2)
    reporter = StageReporter(engine, "tailer")

    def told(reason: str) -> None:
        debezium.lost(settings.slot_name)
        # A session of a server that has become a standby answers reads for as long as it is kept: each life begins with
        # connections of its own.
        engine.dispose()
        try:
            # What Kafka has acknowledged it has for good: the place is kept.
            reporter.report(msgspec.structs.replace(reporter.last, state=reason))
        except SQLAlchemyError:
            return  # Postgres itself is away: the silence of this stage says so

    run_until_stopped(lambda: run(settings, engine, reporter, stop), stop, _PASSING, told, "tailer")


def run(settings: Settings, engine: Engine, reporter: StageReporter, stop: threading.Event) -> None:
    """One life: in wait while another relay runs, then from connecting to the first error."""
    standby: StageReporter | None = None
    while not stop.is_set():
        try:
            with _relay(settings, engine, stop) as relay:
                if standby is not None:
                    log.warning("the tailer before this one has ended: this one goes on")
                    standby.retire()
                topic_monitor = TopicMonitor(settings, engine)
                topic_monitor.check()
                _check_ends(settings, engine)
                with topic_monitor.watching():
                    _drive(relay, TailerReport(settings, engine, relay.transactions, reporter), stop)
        except (SlotInUse, RelayInUse) as error:
            if standby is None:
                log.warning("%s: this tailer waits, and goes on when that one ends", error)
                reporter.retire()
                debezium.waiting(settings.slot_name)
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
        relay.step(IDLE_S)
        report.look()


def _check_ends(settings: Settings, engine: Engine) -> None:
    """Beside the relay, which must not wait for it: a standby takes over within seconds."""

    def check() -> None:
        try:
            for name in topics(settings).values():
                check_topic(engine, bootstrap(settings), name, settings.topic_partitions)
        except (TopicError, SQLAlchemyError, PortUnavailable, SinkRejected) as error:
            log.warning("whose the last records of the topics are cannot be told: %s", error)

    threading.Thread(target=check, name="topic-check", daemon=True).start()
