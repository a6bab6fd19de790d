"""Reports the progress of one generation to the stage table and the metrics, once a second, less often while idle."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from infrastructure.backends import Backends
from infrastructure.observability import metrics
from infrastructure.observability.lag import HeadWatch, delay_of_shards
from infrastructure.observability.stage_reports import StageProgress, StageReporter
from projections.core.ports import Fence, LogHead
from projections.core.projection import Projection
from projections.digest.digest import fold_digest
from projections.live.stream_follower import StreamFollower

IDLE_REPORT_INTERVAL_S = 3.0
"""While a worker is not behind and nothing of its report changes. Bounds how late its report shows a new lag.

It must be well below SILENT_AFTER_S, after which a stage counts as dead.
"""

COUNTED = ("applied", "duplicates", "gaps", "filled", "lost_races", "resets", "foreign")


class WorkerMetrics:
    """Measures a stream follower, in the follower's thread.

    ``reporter`` is called for each report, because another generation may become the active one.
    """

    def __init__(
        self,
        projection: Projection[Any],
        generation: int,
        follower: StreamFollower[Any],
        backends: Backends,
        reporter: Callable[[], StageReporter],
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """``detail``: what every report has besides."""
        self._projection = projection
        self._generation = generation
        self._follower = follower
        self._log = backends.log
        self._reporter = reporter
        self._detail = detail or {}
        self._engine = backends.engine
        self._target_ms = backends.settings.target_freshness_ms
        self._heads = HeadWatch()
        self.lag = 0
        self.trouble = ""
        """The watchdog's finding about this worker; empty if there is none."""
        self._resets = 0
        self._reported: tuple[object, ...] = ()
        self._fold = fold_digest(projection)
        self._totals = {
            what: metrics.CounterTotal(metrics.PROJECTION_EVENTS.labels(projection.name, what)) for what in COUNTED
        }

    def report_if_due(self) -> None:
        """Measure and report, at most once a second, while idle less often. Raises SQLAlchemyError."""
        reporter = self._reporter()
        if not reporter.due():
            return
        follower, counters = self._follower, self._follower.counters
        changing = (
            reporter.stage,
            self.trouble,
            counters.event_time_ms,
            follower.shard_count(),
            follower.parked(),
            *(getattr(counters, what) for what in COUNTED),
        )
        if changing == self._reported and self.lag == 0 and not reporter.due(IDLE_REPORT_INTERVAL_S):
            return
        self._reported = changing
        head, fences = self._log.head(self._projection.stream), follower.fences()
        self._heads.observe(head.position)
        lag = self.lag = follower.lag(head)
        delay_s = self._delay(fences, head) if lag else 0.0
        shards, parked = follower.shard_count(), follower.parked()
        reporter.report(
            StageProgress(
                state=self.trouble or ("running" if shards else "waiting for Kafka to assign partitions"),
                position=counters.position,
                lag_events=lag,
                newest_ms=counters.event_time_ms,
                delay_s=delay_s,
                detail={
                    **self._detail,
                    "generation": self._generation,
                    "fold": self._fold,
                    "shards": shards,
                    "parked": parked,
                    **{what: getattr(counters, what) for what in COUNTED},
                },
            )
        )
        if counters.resets != self._resets:
            self._resets = counters.resets
            metrics.FENCE_MISMATCHES_AT.labels(self._projection.name).set(time.time())
        for what, total in self._totals.items():
            total.update(getattr(counters, what))
        stage = reporter.stage
        metrics.STAGE_POSITION.labels(stage).set(counters.position)
        metrics.STAGE_LAG.labels(stage).set(lag)
        metrics.STAGE_DELAY.labels(stage).set(delay_s)
        metrics.STAGE_LATE.labels(stage).set(delay_s * 1000 > 2 * self._target_ms)
        metrics.STAGE_STUCK.labels(stage).set(bool(self.trouble))
        if stage == self._projection.name:
            metrics.PARKED_KEYS.labels(stage).set(parked)
            metrics.REBUILD_DUE.labels(stage).set(0)
        if counters.event_time_ms:
            metrics.STAGE_FRESHNESS.labels(stage).set(max(0.0, time.time() - counters.event_time_ms / 1000))

    def _delay(self, fences: Mapping[int, Fence], head: LogHead) -> float:
        with self._engine.connect() as connection:
            return delay_of_shards(connection, self._projection.stream, fences, head.seqs, self._heads) or 0.0
