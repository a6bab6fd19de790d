"""The tailer as a program: from the WAL to Kafka, until it is told to stop."""

from __future__ import annotations

import threading
import time

import msgspec
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.cdc.pgoutput import ProtocolError
from infrastructure.cdc.slot import ensure_publication_and_slot, slot_state
from infrastructure.cdc.stream import ReplicationStream, SlotInUse, StreamLost
from infrastructure.cdc.tailer import Tailer
from infrastructure.event_store.engine import reader_engine
from infrastructure.event_store.head import read_head
from infrastructure.kafka.admin import TopicError, ensure_topics
from infrastructure.kafka.factory import bootstrap, make_publisher
from infrastructure.kafka.port import PublishError
from infrastructure.observability import metrics
from infrastructure.observability.freshness import delay_of_position
from infrastructure.observability.stages import PLACED, Progress, StageReporter
from infrastructure.processes.common import run_until_stopped, stop_event, tame_collector
from infrastructure.settings import Settings
from infrastructure.topics import topics

IDLE_S = 0.2
NEAR_BYTES = 1 << 20
_PASSING = (StreamLost, SlotInUse, PublishError, ProtocolError, TopicError, SQLAlchemyError)


def main(settings: Settings) -> None:
    """Run until SIGTERM; after any error start again from the confirmed LSN."""
    assert settings.postgres_url is not None
    stop = stop_event()
    tame_collector()
    engine = reader_engine(settings.postgres_url, pool_size=2)
    reporter = StageReporter(engine, "tailer")

    def told(reason: str) -> None:
        try:
            # What Kafka has acknowledged it has for good: the place is kept.
            reporter.report(msgspec.structs.replace(reporter.last, state=reason))
        except SQLAlchemyError:
            return  # Postgres itself is away: the silence of this stage says so

    run_until_stopped(lambda: run(settings, engine, reporter, stop), stop, _PASSING, told)


def run(settings: Settings, engine: Engine, reporter: StageReporter, stop: threading.Event) -> None:
    """One life of a tailer: from connecting to the first error."""
    assert settings.postgres_url is not None
    ensure_topics(bootstrap(settings), list(topics(settings).values()), settings.topic_partitions)
    ensure_publication_and_slot(engine, settings.publication_name, settings.slot_name)
    stream = ReplicationStream(settings.postgres_url, settings.slot_name, settings.publication_name)
    publisher = make_publisher(settings)
    try:
        tailer = Tailer(stream, publisher, topics(settings), settings.topic_partitions)
        observer = _Observer(settings, engine, tailer, reporter)
        while not stop.is_set():
            tailer.step(IDLE_S)
            observer.look()
    finally:
        publisher.close()
        stream.close()


class _Observer:
    """Tells the stage table and the metrics, once a second, how far the tailer is."""

    def __init__(self, settings: Settings, engine: Engine, tailer: Tailer, reporter: StageReporter) -> None:
        self._slot_name = settings.slot_name
        self._target_ms = settings.target_freshness_ms
        self._engine = engine
        self._tailer = tailer
        self._reporter = reporter
        self._last_head = -1
        self._before = reporter.last.position
        """What the tailer's life before this one had passed."""
        self._placed = PLACED in reporter.last.detail
        """Whether a place in the log is known at all; 0 is one, of an empty log."""
        self._records = metrics.Total(metrics.TAILER_RECORDS)

    def look(self) -> None:
        if not self._reporter.due():
            return
        with self._engine.connect() as connection:
            # In this order: what is recorded in between makes the tailer look late, never early.
            head = read_head(connection)
            slot = slot_state(connection, self._slot_name)
            progress = self._tailer.progress
            if self._before > head.position:
                # The database was restored: these are other events.
                self._before, self._placed = 0, False
            progress.position = max(progress.position, self._before)
            self._placed = self._placed or progress.position > 0
            delay_s = delay_of_position(connection, progress.position) if self._placed else self._waits_s()
        standing = head.position == self._last_head and self._tailer.in_flight() == 0
        self._last_head = head.position
        if standing and slot is not None and slot.behind_bytes < NEAR_BYTES:
            # Nothing came since the last look and nothing is under way: a tailer that was started again has passed
            # what its predecessor had.
            progress.position = max(progress.position, head.position)
            progress.commit_ms = max(progress.commit_ms, head.recorded_at_ms)
            self._placed, delay_s = True, 0.0
        self._reporter.report(
            Progress(
                position=progress.position,
                lag_events=head.position - progress.position if self._placed else self._tailer.in_flight(),
                newest_ms=progress.commit_ms,
                delay_s=delay_s,
                detail={
                    "slot": slot._asdict() if slot else None,
                    "in_flight": self._tailer.in_flight(),
                    **({PLACED: True} if self._placed else {}),
                },
            )
        )
        self._records.is_now(progress.acknowledged)
        metrics.TAILER_IN_FLIGHT.set(self._tailer.in_flight())
        metrics.STAGE_DELAY.labels("tailer").set(delay_s)
        metrics.STAGE_LATE.labels("tailer").set(delay_s * 1000 > 2 * self._target_ms)
        metrics.STAGE_POSITION.labels("tailer").set(progress.position)
        metrics.STAGE_LAG.labels("tailer").set(max(0, head.position - progress.position))
        if progress.commit_ms:
            metrics.STAGE_FRESHNESS.labels("tailer").set(time.time() - progress.commit_ms / 1000)
        if slot is not None:
            metrics.SLOT_RETAINED.set(slot.retained_bytes)

    def _waits_s(self) -> float:
        """Of what this tailer has read itself, while it has no place in the log yet."""
        since_ms = self._tailer.waits_since_ms()
        return 0.0 if since_ms is None else max(0.0, time.time() - since_ms / 1000)
