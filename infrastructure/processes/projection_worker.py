"""One generation kept up to date: from connecting to the first error, again and again until it is told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from prometheus_client import Histogram
from sqlalchemy.exc import SQLAlchemyError

from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.event_store.log_reader import PostgresLog
from infrastructure.kafka.clients import make_consumer
from infrastructure.kafka.consumer_decorators import BatchingConsumer, TimedConsumer
from infrastructure.kafka.topics import topics
from infrastructure.observability import metrics
from infrastructure.observability.stage_reports import StageProgress, StageReporter, read_stages
from infrastructure.observability.watchdog import WorkSample
from infrastructure.postgres.restore_findings import RestoreFinding, record_finding
from infrastructure.processes.runtime import run_until_stopped
from infrastructure.processes.worker_metrics import WorkerMetrics
from infrastructure.redis.connection import check_never_evicts
from infrastructure.schema_registry.client import RegistryUnavailable
from infrastructure.settings.settings import Settings
from infrastructure.sinks.compacted_topic_factory import publishing
from infrastructure.sinks.decorators import TimedSink
from projections.core.fences import FenceMismatch
from projections.core.ports import ConsumerUnusable, FenceConflict, PortUnavailable, SinkRejected
from projections.core.projection import Batching, Projection
from projections.core.shard_processor import ProcessorLimits
from projections.core.shard_writer import BrokenFold
from projections.core.state_codec import BrokenState
from projections.digest.digest import fold_digest
from projections.live.stream_follower import StreamFollower

SHARE = 3.0


class BatchingPolicy(NamedTuple):
    """``enough``: records of a batch above which its fixed costs (a fence a shard, a transaction) are small.

    ``longest_s``: seconds that may be waited for more; ``at_most``: records of one batch. ``gathers``: what has come
    to the broker meanwhile is fetched before the batch is begun, not only what the client has already.
    """

    enough: int
    longest_s: float
    at_most: int
    gathers: bool


LOW_LATENCY = BatchingPolicy(enough=1_000, longest_s=0.1, at_most=5_000, gathers=False)
"""Somebody waits for the answer."""
HIGH_THROUGHPUT = BatchingPolicy(enough=20_000, longest_s=2.0, at_most=20_000, gathers=True)
"""Of 20,000 records many are of one key, whose state and rows are written once: half the cost of 5,000 each."""


def poll_delay_s(pace: BatchingPolicy, records: int, took_s: float) -> float:
    """Seconds to wait after a batch of ``records`` that was worked at for ``took_s`` seconds.

    A batch of 50 costs more than twice as much a record as one of 1,000 (benchmarks/batch_size.py), so a worker that
    takes whatever is there keeps a machine busy at a load that is half of what it could bear. Of one ping alone the
    batch is done in milliseconds, and so is the pause; whoever is behind finds full batches, and does not pause.
    """
    return min(pace.longest_s, SHARE * took_s) if 0 < records < pace.enough else 0.0


POLL_S = 0.2
IDLE_CHECK_INTERVAL_S = 2.0
COMMIT_INTERVAL_S = 5.0
NO_PARTITIONS_S = 20.0


class Stuck(Exception):
    """The watchdog's word: everything is dropped and begun anew."""


# A server that refuses data is told in `status` too: the other projections must not go down with this one.
# A broken fold is told in `status` and tried again: the others must not go down with it.
_PASSING = (
    PortUnavailable,
    SinkRejected,
    FenceConflict,
    RegistryUnavailable,
    SQLAlchemyError,
    BrokenFold,
    BrokenState,
    Stuck,
)


def stage_name(projection: str, generation: int, *, is_active: bool) -> str:
    """What the stage is called in ``status``: the active generation bears the projection's own name."""
    return projection if is_active else f"{projection}@{generation}"


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
        self._pace = HIGH_THROUGHPUT if projection.batching is Batching.HIGH_THROUGHPUT else LOW_LATENCY
        self._backends = Backends(settings, pool_size=2)
        self._engine = self._backends.engine
        self._topic: TimedConsumer | None = None
        self._held_at = 0.0
        self._rounds = 0
        self._living: tuple[StreamFollower[Any], WorkerMetrics] | None = None
        self._start_anew = False
        self._reporters: dict[str, StageReporter] = {}

    def run(self) -> None:
        """Until ``stop``; whatever server goes away, wait for it."""
        try:
            run_until_stopped(self._live, self._stop, _PASSING, self._told, self._projection.name)
        finally:
            self._close_topic()
            self._backends.close()

    def _told(self, reason: str) -> None:
        self._rounds += 1
        self._backends.drop_connections()
        try:
            detail = {"generation": self._generation, "fold": fold_digest(self._projection)}
            self._reporter().report(StageProgress(state=reason, detail=detail))
        except SQLAlchemyError:
            return  # Postgres itself is away: the silence of this stage says so

    def _tell_restored(self, found: FenceMismatch) -> None:
        """On record before it is mended: afterwards nothing would show that it ever happened."""
        words = (
            f"{found.shards} shards, up to position {found.beyond}, were not of this log, which ended at {found.head} "
            f"({found.why.value}); they are folded anew"
        )
        record_finding(
            self._engine, RestoreFinding(f"{self._projection.name}@{self._generation}", words, found.beyond, found.head)
        )

    def _reporter(self) -> StageReporter:
        name = stage_name(self._projection.name, self._generation, is_active=self._is_active())
        if name not in self._reporters:
            self._reporters[name] = StageReporter(self._engine, name)
        return self._reporters[name]

    def _live(self) -> None:
        settings, projection = self._settings, self._projection
        redis = self._backends.cache
        try:
            if projection.store == "redis":
                check_never_evicts(redis)
            log = self._backends.log
            group = f"{projection.name}-{self._generation}"
            if self._topic is None:
                topic = make_consumer(settings, topics(settings)[projection.stream], group)
                topic = BatchingConsumer(topic) if self._pace.gathers else topic
                self._topic = TimedConsumer(topic, self._of(metrics.BATCH_RECORDS), self._of(metrics.BATCH_SECONDS))
            codec = self._backends.make_codec()

            def restored(found: FenceMismatch) -> None:
                codec.forget()
                self._tell_restored(found)

            with publishing(
                settings,
                projection,
                self._generation,
                self._backends.stores.sink(projection, self._generation),
                client=redis,
                log_port=log,
                encode=codec.encode,
                active=self._is_active,
            ) as sink:
                runner = StreamFollower(
                    projection,
                    log_port=log,
                    consumer=self._topic,
                    sink=TimedSink(sink, self._of(metrics.SINK_SECONDS)),
                    decode=codec.decode,
                    partitions=settings.topic_partitions,
                    limits=ProcessorLimits(poll_records=self._pace.at_most),
                    on_fence_mismatch=restored,
                )
                self._follow(runner, self._topic, self._observer(runner, log))
        except (ConsumerUnusable, Stuck):
            self._close_topic()
            raise
        # The consumer is kept: leaving its group and joining it again costs seconds, and only the database failed.

    def _of(self, histogram: Histogram) -> Callable[[float], None]:
        observe: Callable[[float], None] = histogram.labels(self._projection.name).observe
        return observe

    def _close_topic(self) -> None:
        if self._topic is not None:
            self._topic.close()
            self._topic = None

    def _observer(self, runner: StreamFollower[Any], log: PostgresLog) -> WorkerMetrics:
        target_ms = self._settings.target_freshness_ms
        return WorkerMetrics(
            self._projection, self._generation, runner, log, self._reporter, engine=self._engine, target_ms=target_ms
        )

    def sample(self) -> WorkSample:
        """What the watchdog looks at, from any thread."""
        living = self._living
        if living is None:
            return WorkSample(self._rounds, 0, 0)
        runner, observer = living
        return WorkSample(self._rounds, runner.counters.applied, observer.lag)

    def warn(self, words: str, *, start_anew: bool) -> None:
        """Tell in the stage's reports what the watchdog found; ``start_anew``: drop all connections, begin again."""
        if self._living is not None:
            self._living[1].trouble = words
        self._start_anew = start_anew

    def _follow(self, runner: StreamFollower[Any], topic: TimedConsumer, observer: WorkerMetrics) -> None:
        every_2s = _Every(IDLE_CHECK_INTERVAL_S, runner.idle_check)
        every_5s = _Every(COMMIT_INTERVAL_S, runner.commit)
        self._living, self._start_anew = (runner, observer), False
        self._held_at = time.monotonic()
        while not self._stop.is_set():
            self._rounds += 1
            if self._start_anew:
                raise Stuck(observer.trouble)
            runner.step(POLL_S)
            records, took_s = topic.applied()
            every_2s.tick()
            every_5s.tick()
            observer.look()
            self._expect_partitions(runner)
            self._stop.wait(poll_delay_s(self._pace, records, took_s))
        runner.commit()

    def _expect_partitions(self, runner: StreamFollower[Any]) -> None:
        """Join the group again if it hands out nothing, and nobody else has what is missing."""
        now = time.monotonic()
        if runner.fences():
            self._held_at = now
        elif now - self._held_at > NO_PARTITIONS_S:
            self._held_at = now
            name = self._reporter().stage
            held = [
                r.progress.detail.get("shards", 0) for r in read_stages(self._engine) if r.stage == name and r.connected
            ]
            if sum(held) < SHARDS:
                raise ConsumerUnusable(f"Kafka handed out no partitions for {NO_PARTITIONS_S:.0f} s: joining again")


class _Every:
    def __init__(self, seconds: float, act: Callable[[], object]) -> None:
        self._seconds = seconds
        self._act = act
        self._last = time.monotonic()

    def tick(self) -> None:
        now = time.monotonic()
        if now - self._last >= self._seconds:
            self._last = now
            self._act()
