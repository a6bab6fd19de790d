"""Keeps one generation up to date: follows the stream, and reconnects after each transient error until stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from prometheus_client import Histogram
from sqlalchemy.exc import SQLAlchemyError

from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.kafka.clients import make_consumer
from infrastructure.kafka.consumer_decorators import BatchingConsumer, TimedConsumer
from infrastructure.kafka.topics import topics
from infrastructure.observability import metrics
from infrastructure.observability.stage_gauges import forget_stage
from infrastructure.observability.stage_reports import StageProgress, StageReporter, read_stages
from infrastructure.observability.watchdog import WorkSample
from infrastructure.operations.generation_follower import TRANSIENT_ERRORS, follower_of, stage_name
from infrastructure.operations.worker_metrics import WorkerMetrics
from infrastructure.processes.runtime import run_until_stopped
from infrastructure.settings.settings import Settings
from projections.core.ports import ConsumerUnusable
from projections.core.projection import Batching, Projection
from projections.digest.digest import fold_digest
from projections.live.stream_follower import StreamFollower

DELAY_PER_WORK = 3.0
"""Longest delay after a small batch, as a multiple of the time that the batch took."""


class BatchingPolicy(NamedTuple):
    """How long a worker waits for more records before it polls again, and how many it takes at once."""

    target_records: int
    """Records of a batch above which its fixed costs (a fence per shard, a transaction) are small."""
    max_wait_s: float
    """Longest wait for more records, in seconds."""
    max_records: int
    """Most records of one batch."""
    prefetch: bool
    """Fetch what has reached the broker meanwhile before the batch starts, not only what the client already has."""
    fetch_wait_ms: int
    """How long the broker keeps a fetch open without records. Idle consumers cost it one request per fetch.

    The embedded broker may keep a fetch open although a record has come: p90 from commit to read is 0.07 s with 100 ms
    and 0.25 s with 500 ms.
    """


LOW_LATENCY = BatchingPolicy(target_records=1_000, max_wait_s=0.1, max_records=5_000, prefetch=False, fetch_wait_ms=100)
"""For projections that serve point reads."""
SMALL_BATCHES = LOW_LATENCY._replace(fetch_wait_ms=500)
"""For projections whose readers do not notice half a second: idle, they ask the broker a fifth as often."""
HIGH_THROUGHPUT = BatchingPolicy(
    target_records=20_000, max_wait_s=2.0, max_records=20_000, prefetch=True, fetch_wait_ms=500
)
"""Among 20,000 records many share a key, whose state and rows are written once: half the cost of batches of 5,000."""

POLICIES = {
    Batching.LOW_LATENCY: LOW_LATENCY,
    Batching.SMALL_BATCHES: SMALL_BATCHES,
    Batching.HIGH_THROUGHPUT: HIGH_THROUGHPUT,
}


def poll_delay_s(policy: BatchingPolicy, records: int, took_s: float) -> float:
    """Seconds to wait after a batch of ``records`` that took ``took_s`` seconds. Pure.

    A record of a batch of 50 costs more than twice as much as one of a batch of 1,000 (benchmarks/batch_size.py). A
    worker that takes whatever is there saturates a machine at half of the load that it could bear. A single ping is
    processed in milliseconds, and so is the delay. A worker that is behind finds full batches and does not wait.
    """
    return min(policy.max_wait_s, DELAY_PER_WORK * took_s) if 0 < records < policy.target_records else 0.0


POLL_TIMEOUT_S = 0.2
IDLE_CHECK_INTERVAL_S = 2.0
COMMIT_INTERVAL_S = 5.0
NO_PARTITIONS_TIMEOUT_S = 20.0
"""After so long without partitions, seconds, the worker rejoins its consumer group."""


class Stuck(Exception):
    """The watchdog found the worker stuck: it drops all connections and reconnects."""


_TRANSIENT_ERRORS = (*TRANSIENT_ERRORS, Stuck)


class ProjectionWorker:
    """Follows the stream of ``projection`` for one generation, in the thread that calls ``run``."""

    def __init__(
        self,
        settings: Settings,
        projection: Projection[Any],
        generation: int,
        is_active: Callable[[], bool],
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._projection = projection
        self._generation = generation
        self._is_active = is_active
        self._stop = stop
        self._batching = POLICIES[projection.batching]
        self._backends = Backends(settings, pool_size=2)
        self._engine = self._backends.engine
        self._consumer: TimedConsumer | None = None
        self._assigned_at = 0.0  # when partitions were last assigned
        self._rounds = 0
        self._connected: tuple[StreamFollower[Any], WorkerMetrics] | None = None
        self._must_restart = False
        self._reporters: dict[str, StageReporter] = {}
        self._stage = ""
        """Under which name it reports now: another one after a switch."""

    def run(self) -> None:
        """Run until ``stop``; wait for any server that becomes unavailable."""
        try:
            run_until_stopped(
                self._connect_and_follow, self._stop, _TRANSIENT_ERRORS, self._on_failure, self._projection.name
            )
        finally:
            self._rename("")
            self._close_consumer()
            self._backends.close()

    def _on_failure(self, reason: str) -> None:
        self._rounds += 1
        self._backends.drop_connections()
        try:
            detail = {"generation": self._generation, "fold": fold_digest(self._projection)}
            self._reporter().report(StageProgress(state=reason, detail=detail))
        except SQLAlchemyError:
            return  # Postgres itself is unavailable: `status` shows this stage as silent

    def _reporter(self) -> StageReporter:
        name = stage_name(self._projection.name, self._generation, is_active=self._is_active())
        self._rename(name)
        if name not in self._reporters:
            self._reporters[name] = StageReporter(self._engine, name)
        return self._reporters[name]

    def _rename(self, stage: str) -> None:
        if self._stage and stage != self._stage:
            forget_stage(self._stage)
        self._stage = stage

    def _connect_and_follow(self) -> None:
        projection, backends = self._projection, self._backends
        try:
            with follower_of(
                backends,
                projection,
                self._generation,
                self._opened_consumer,
                self._is_active,
                self._batching.max_records,
            ) as follower:
                consumer = self._opened_consumer()
                worker_metrics = WorkerMetrics(projection, self._generation, follower, backends, self._reporter)
                self._follow(follower, consumer, worker_metrics)
        except (ConsumerUnusable, Stuck):
            self._close_consumer()
            raise
        # The consumer stays open: leaving and rejoining its group costs seconds, and only a database failed.

    def _opened_consumer(self) -> TimedConsumer:
        if self._consumer is None:
            settings = self._settings
            topic, group = topics(settings)[self._projection.stream], f"{self._projection.name}-{self._generation}"
            consumer = make_consumer(settings, topic, group, fetch_wait_ms=self._batching.fetch_wait_ms)
            consumer = BatchingConsumer(consumer) if self._batching.prefetch else consumer
            self._consumer = TimedConsumer(
                consumer, self._observe(metrics.BATCH_RECORDS), self._observe(metrics.BATCH_SECONDS)
            )
        return self._consumer

    def _observe(self, histogram: Histogram) -> Callable[[float], None]:
        observe: Callable[[float], None] = histogram.labels(self._projection.name).observe
        return observe

    def _close_consumer(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def sample(self) -> WorkSample:
        """The worker's progress, for the watchdog; callable from any thread."""
        connected = self._connected
        if connected is None:
            return WorkSample(self._rounds, 0, 0)
        follower, worker_metrics = connected
        return WorkSample(self._rounds, follower.counters.applied, worker_metrics.lag)

    def set_trouble(self, message: str, *, restart: bool) -> None:
        """Show the watchdog's finding in the stage's reports; ``restart``: drop all connections and reconnect."""
        if self._connected is not None:
            self._connected[1].trouble = message
        self._must_restart = restart

    def _follow(self, follower: StreamFollower[Any], consumer: TimedConsumer, worker_metrics: WorkerMetrics) -> None:
        idle_check = _Periodic(IDLE_CHECK_INTERVAL_S, follower.idle_check)
        commit = _Periodic(COMMIT_INTERVAL_S, follower.commit)
        self._connected, self._must_restart = (follower, worker_metrics), False
        self._assigned_at = time.monotonic()
        while not self._stop.is_set():
            self._rounds += 1
            if self._must_restart:
                raise Stuck(worker_metrics.trouble)
            follower.step(POLL_TIMEOUT_S)
            records, took_s = consumer.applied()
            idle_check.run_if_due()
            commit.run_if_due()
            worker_metrics.report_if_due()
            self._check_partitions(follower)
            self._stop.wait(poll_delay_s(self._batching, records, took_s))
        follower.commit()

    def _check_partitions(self, follower: StreamFollower[Any]) -> None:
        """Rejoin the group if it assigns no partitions to this worker while shards are left that no worker has."""
        now = time.monotonic()
        if follower.fences():
            self._assigned_at = now
        elif now - self._assigned_at > NO_PARTITIONS_TIMEOUT_S:
            self._assigned_at = now
            name = self._reporter().stage
            held = [
                r.progress.detail.get("shards", 0) for r in read_stages(self._engine) if r.stage == name and r.connected
            ]
            if sum(held) < SHARDS:
                raise ConsumerUnusable(f"Kafka assigned no partitions for {NO_PARTITIONS_TIMEOUT_S:.0f} s: rejoining")


class _Periodic:
    def __init__(self, interval_s: float, action: Callable[[], object]) -> None:
        self._interval_s = interval_s
        self._action = action
        self._last = time.monotonic()

    def run_if_due(self) -> None:
        now = time.monotonic()
        if now - self._last >= self._interval_s:
            self._last = now
            self._action()
