"""Reports the progress of the tailer to the stage table and the metrics, once a second."""

from __future__ import annotations

import time

from sqlalchemy import Connection, Engine

from infrastructure import timestamps
from infrastructure.cdc.in_flight import MAX_WAITING_RECORDS, InFlightTransactions
from infrastructure.cdc.replication_slot import slot_state
from infrastructure.event_store.log_head import read_head
from infrastructure.observability import debezium_metrics as debezium
from infrastructure.observability import metrics
from infrastructure.observability.lag import HeadWatch, delay_of_position
from infrastructure.observability.stage_reports import POSITIONED, StageProgress, StageReporter
from infrastructure.settings.settings import Settings
from infrastructure.status.pipeline_monitor import show_slot


class TailerReport:
    """Measures one connected relay."""

    def __init__(self, settings: Settings, engine: Engine, out: InFlightTransactions, reporter: StageReporter) -> None:
        self._relay = settings.relay
        self._slot_name = settings.slot_name
        self._target_ms = settings.target_freshness_ms
        self._engine = engine
        self._out = out
        self._reporter = reporter
        self._heads = HeadWatch()
        self._records = metrics.CounterTotal(metrics.TAILER_RECORDS)
        self._filled = metrics.CounterTotal(metrics.TAILER_FILLED)
        self._repeated = metrics.CounterTotal(metrics.TAILER_REPEATED)

    def report_if_due(self) -> None:
        """Measure and report, at most once a second. Raises SQLAlchemyError."""
        if not self._reporter.due():
            return
        with self._engine.connect() as connection:
            # Head first: an event that is recorded in between makes the tailer look late, never early.
            head = read_head(connection)
            self._heads.observe(head.position)
            slot = slot_state(connection, self._slot_name) if self._relay == "wal" else None
            passed = self._out.progress.position
            # No position before the first heartbeat or event: about a second, once per database.
            delay_s = self._waiting_s() if passed is None else self._delay_s(connection, passed)
        progress = self._out.progress
        position = passed or 0
        lag = self._out.unacknowledged_records() if passed is None else max(0, head.position - position)
        newest_ms = max(progress.commit_ms, head.recorded_at_ms if passed == head.position else 0)
        self._reporter.report(
            StageProgress(
                position=position,
                lag_events=lag,
                newest_ms=newest_ms,
                delay_s=delay_s,
                detail={
                    "relay": self._relay,
                    "slot": slot._asdict() if slot else None,
                    "in_flight": self._out.unacknowledged_records(),
                    **({} if passed is None else {POSITIONED: True}),
                },
            )
        )
        self._records.update(progress.acknowledged)
        self._filled.update(progress.filled)
        self._repeated.update(progress.repeated)
        metrics.TAILER_IN_FLIGHT.set(self._out.unacknowledged_records())
        metrics.STAGE_DELAY.labels("tailer").set(delay_s)
        metrics.STAGE_LATE.labels("tailer").set(delay_s * 1000 > 2 * self._target_ms)
        metrics.STAGE_POSITION.labels("tailer").set(position)
        metrics.STAGE_LAG.labels("tailer").set(lag)
        if newest_ms:
            metrics.STAGE_FRESHNESS.labels("tailer").set(max(0.0, time.time() - newest_ms / 1000))
        if self._relay == "wal":
            show_slot(slot)
        debezium.show(self._slot_name, self._debezium_sample(delay_s))

    def _debezium_sample(self, delay_s: float) -> debezium.DebeziumSample:
        progress, now_ms = self._out.progress, timestamps.now_ms()
        return debezium.DebeziumSample(
            behind_ms=max(progress.behind_ms, delay_s * 1000 or -1),
            since_last_event_ms=-1 if progress.event_ms < 0 else max(0, now_ms - progress.event_ms),
            events=progress.acknowledged + progress.repeated,
            filtered=progress.skipped,
            transactions=progress.transactions,
            queue_capacity=MAX_WAITING_RECORDS,
            queue_room=self._out.free_capacity(),
        )

    def _delay_s(self, connection: Connection, position: int) -> float:
        return delay_of_position(connection, position, self._heads) or 0.0

    def _waiting_s(self) -> float:
        """Delay of what this tailer has read itself, while it does not know its position in the log yet."""
        since_ms = self._out.oldest_commit_ms()
        return 0.0 if since_ms is None else max(0.0, time.time() - since_ms / 1000)
