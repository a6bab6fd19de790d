"""Tells the stage table and the metrics, once a second, how far one generation is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from infrastructure.event_store.log import PostgresLog
from infrastructure.observability import metrics
from infrastructure.observability.stages import Progress, StageReporter
from projections.digest import fold_digest
from projections.protocol import Projection
from projections.runner import Runner

COUNTED = ("applied", "duplicates", "gaps", "filled", "lost_races", "resets", "foreign")


class Observer:
    """Looks at a runner from its own thread. ``reporter`` is asked each time: the active generation may change."""

    def __init__(
        self,
        projection: Projection[Any],
        generation: int,
        runner: Runner[Any],
        log: PostgresLog,
        reporter: Callable[[], StageReporter],
    ) -> None:
        self._projection = projection
        self._generation = generation
        self._runner = runner
        self._log = log
        self._reporter = reporter
        self._fold = fold_digest(projection)
        self._totals = {
            what: metrics.Total(metrics.PROJECTION_EVENTS.labels(projection.name, what)) for what in COUNTED
        }

    def look(self) -> None:
        reporter = self._reporter()
        if not reporter.due():
            return
        runner, counters = self._runner, self._runner.counters
        lag = runner.lag(self._log.head(self._projection.stream))
        shards, parked = len(runner.fences()), runner.parked()
        reporter.report(
            Progress(
                state="running" if shards else "waiting for Kafka to assign partitions",
                position=counters.position,
                lag_events=lag,
                newest_ms=counters.event_time_ms,
                detail={
                    "generation": self._generation,
                    "fold": self._fold,
                    "shards": shards,
                    "parked": parked,
                    **{what: getattr(counters, what) for what in COUNTED},
                },
            )
        )
        for what, total in self._totals.items():
            total.is_now(getattr(counters, what))
        stage = reporter.stage
        metrics.STAGE_POSITION.labels(stage).set(counters.position)
        metrics.STAGE_LAG.labels(stage).set(lag)
        if counters.event_time_ms:
            metrics.STAGE_FRESHNESS.labels(stage).set(time.time() - counters.event_time_ms / 1000)
