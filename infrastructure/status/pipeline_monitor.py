"""Measures the pipeline once a second in a thread of the API, for a response header and for the metrics."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.cdc.replication_slot import SlotState, slot_state
from infrastructure.event_store.log_head import LogHeadRow, read_head
from infrastructure.ingest.group_commit import GroupCommit
from infrastructure.observability import metrics
from infrastructure.observability.lag import HeadWatch
from infrastructure.observability.stage_gauges import SLOT_STATUSES
from infrastructure.observability.stage_reports import (
    SILENT_AFTER_S,
    StageProgress,
    StageReport,
    StageReporter,
    newest,
    read_stages,
)
from infrastructure.postgres import restore_findings as restores
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.redis.connection import RedisClient
from infrastructure.sinks.factory import Stores
from infrastructure.status.lines import IngestHead, MeasuredStage, StatusLine, log_line, stage_line
from infrastructure.status.stage_lag import StageBacklog, projection_behind, tailer_behind
from infrastructure.timestamps import now_ms
from projections.catalogue import PROJECTIONS
from projections.core.ports import PortUnavailable, SinkRejected
from projections.rebuild.generations import active


def show_slot(state: SlotState | None) -> None:
    """Export the slot's state as metrics; None: there is no slot.

    The tailer and the API both export it, so that it is shown while the tailer is dead.
    """
    status = "missing" if state is None else state.wal_status
    for one in SLOT_STATUSES:
        metrics.SLOT_STATUS.labels(one).set(one == status)
    metrics.SLOT_RETAINED.set(0 if state is None else state.retained_bytes)
    metrics.SLOT_UNCONFIRMED.set(0 if state is None else state.behind_bytes)
    metrics.SLOT_ACTIVE.set(state is not None and state.active)
    # Without a limit the server never removes WAL that the slot needs.
    unlimited = state is None or (state.safe_wal_size is None and not state.is_lost)
    metrics.SLOT_SAFE.set(math.inf if unlimited or state is None else state.safe_wal_size or 0)


log = logging.getLogger("ridelog.watch")

MONITOR_INTERVAL_S = 1.0
SHOWN_FOR_S = 15.0
"""An older measurement is no longer shown to people, who see when it was made."""
KNOWN_FOR_S = 3.0
"""An older measurement no longer counts as known: the pipeline may have stopped since."""
IDLE_MEASURE_INTERVAL_S = 3.0
"""While the log does not grow, the fences of a projection that is not behind are read so often.

Bounds how late it shows that a store is unavailable, or was emptied or rewound meanwhile.
"""


class _Measured(NamedTuple):
    """The backlog of a projection when its fences were last read."""

    generation: int
    log_id: str
    head: int
    """Number of the transaction that had moved the head of the log last."""
    at: float
    """When it began, in seconds of the monitor's clock."""
    backlog: StageBacklog


class MonitoredRelay(NamedTuple):
    """The relay, as the monitor measures it.

    ``slot_name``: the slot to measure too, None if the relay has none. ``own_tailer``: whether ridelog's own tailer is
    to run; if not, the reports that one left before are ignored.
    """

    slot_name: str | None = None
    own_tailer: bool = True


class PipelineState(NamedTuple):
    """One measurement: when it was made (epoch milliseconds), the head of the log, and the line of each stage."""

    at_ms: int
    head: IngestHead
    lines: list[StatusLine]


class PipelineMonitor:
    """Measures every stage, and reports to the stage table how many pings wait in this API."""

    def __init__(
        self,
        engine: Engine,
        client: RedisClient,
        commits: GroupCommit[Any, Any],
        target_freshness_ms: int,
        relay: MonitoredRelay = MonitoredRelay(),  # noqa: B008 (immutable)
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._generations = PostgresGenerations(engine)
        self._stores = Stores(engine, client)
        self._commits = commits
        self._relay = relay
        self._clock = clock
        self._late_after_s = 2 * target_freshness_ms / 1000
        self._reporter: StageReporter | None = None
        self._seen: dict[str, StageBacklog] = {}
        self._seen_at = float("-inf")
        self._state: PipelineState | None = None
        self._heads = HeadWatch(clock)
        self._measured: dict[str, _Measured] = {}
        self._stop = threading.Event()
        # A daemon: a server that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="pipeline-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2.0)

    def delay_ms(self, stage: str) -> int | None:
        """Delay of the stage in milliseconds, None while it is not known. Never blocks, as every request calls it."""
        seen = self._seen.get(stage)
        if seen is None or self._clock() - self._seen_at > KNOWN_FOR_S:
            return None
        return None if seen.seconds is None else round(seen.seconds * 1000)

    def state(self) -> PipelineState | None:
        """The newest measurement; None while none is known. Never blocks."""
        return self._state if self._clock() - self._seen_at <= SHOWN_FOR_S else None

    def measure(self, *, reuse: bool = False) -> None:
        """Measure all stages once. A stage whose store is unavailable has no known delay.

        ``reuse``: a projection that had passed the whole log, and whose log has not grown since, is not measured again
        for IDLE_MEASURE_INTERVAL_S.
        """
        started = self._clock()
        events, seconds = self._commits.waiting()
        self._show("ingest", StageBacklog(events, seconds))
        try:
            reports = newest(read_stages(self._engine))
            if not self._relay.own_tailer:
                reports.pop("tailer", None)
            seen = self._measure(reports, reuse)
            self._report_ingest(events, seconds)
        except (SQLAlchemyError, PortUnavailable, SinkRejected):
            return  # Postgres is unavailable: the last measurement expires, and every stage counts as not connected
        for stage, behind in seen.items():
            self._show(stage, behind)
        for stage, report in reports.items():
            metrics.STAGE_STUCK.labels(stage).set(report.progress.state.startswith(("stuck", "hangs")))
            if "@" in stage and report.age_s > SILENT_AFTER_S:
                # No worker follows this generation under this name any more: it must not alert for ever.
                self._show(stage, StageBacklog(0, 0.0))
        self._seen, self._seen_at = seen, started

    def _measure(self, reports: dict[str, StageReport], reuse: bool) -> dict[str, StageBacklog]:
        seen: dict[str, StageBacklog] = {}
        with self._engine.connect() as connection:
            head = read_head(connection)
            self._heads.observe(head.position)
            metrics.RESTORED.set(bool(restores.read_findings(connection)))
            if self._relay.slot_name is not None:
                # Here too: a slot fills the disk, or is lost, exactly while no tailer runs.
                show_slot(slot_state(connection, self._relay.slot_name))
            tailer = tailer_behind(connection, reports.get("tailer"), head, self._heads)
            if tailer is not None:
                seen["tailer"] = tailer
            generations = self._generations.all_by_projection()
            for name, projection in PROJECTIONS.items():
                live = active(generations.get(name, []))
                if live is None:
                    continue
                measured = self._measured.pop(name, None)
                if not (reuse and measured is not None and self._is_still_idle(measured, live.number, head)):
                    at = self._clock()
                    try:
                        behind = projection_behind(connection, self._stores, projection, live.number, head, self._heads)
                    except (PortUnavailable, SinkRejected):
                        continue  # its store is unavailable, as its stage reports: the delay is unknown
                    measured = _Measured(live.number, str(head.log_id), head.number, at, behind)
                self._measured[name], seen[name] = measured, measured.backlog
        self._state = PipelineState(now_ms(), *self._lines(head, reports, seen))
        return seen

    def _is_still_idle(self, measured: _Measured, generation: int, head: LogHeadRow) -> bool:
        return (
            measured.backlog == StageBacklog(0, 0.0)
            and (measured.generation, measured.log_id, measured.head) == (generation, str(head.log_id), head.number)
            and self._clock() - measured.at < IDLE_MEASURE_INTERVAL_S
        )

    def _lines(
        self, found: LogHeadRow, reports: Mapping[str, StageReport], seen: Mapping[str, StageBacklog]
    ) -> tuple[IngestHead, list[StatusLine]]:
        """The lines of ``status`` that need nothing else than this measurement."""
        head = IngestHead(str(found.log_id), found.position, found.recorded_at_ms, found.clock_ahead_ms)
        stages = [*(["tailer"] if self._relay.own_tailer else []), *PROJECTIONS]
        lines = [log_line(head)]
        for name in stages:
            backlog = seen.get(name)
            measured = MeasuredStage() if backlog is None else MeasuredStage(backlog.events, backlog.seconds)
            lines.append(stage_line(name, reports.get(name), head, self._late_after_s, measured))
        return head, lines

    def _show(self, stage: str, behind: StageBacklog) -> None:
        metrics.STAGE_LAG.labels(stage).set(behind.events)
        seconds = behind.seconds or 0.0
        metrics.STAGE_DELAY.labels(stage).set(seconds)
        metrics.STAGE_LATE.labels(stage).set(seconds > self._late_after_s)

    def _report_ingest(self, events: int, seconds: float) -> None:
        if self._reporter is None:
            self._reporter = StageReporter(self._engine, "ingest")
        self._reporter.report(StageProgress(lag_events=events, delay_s=seconds))

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.measure(reuse=True)
            except Exception:
                # The thread must survive any error: later requests need the header and the metrics.
                log.exception("the stages cannot be measured")
            self._stop.wait(MONITOR_INTERVAL_S)
