"""The projections as a program: every projection of the catalogue follows its stream, until it is told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from domain.contracts import Codec
from infrastructure.event_store.engine import reader_engine
from infrastructure.event_store.generations import claim
from infrastructure.event_store.log import PostgresLog
from infrastructure.kafka.factory import make_topic
from infrastructure.observability import metrics
from infrastructure.observability.stages import Progress, StageReporter
from infrastructure.processes.common import run_until_stopped, stop_event, tame_collector
from infrastructure.redis.connection import check_never_evicts, connect
from infrastructure.redis.sink import RedisSink
from infrastructure.registry.connect import schema_ids
from infrastructure.registry.ids import RegistryUnavailable
from infrastructure.settings import Settings
from infrastructure.topics import topics
from projections.catalogue import PROJECTIONS
from projections.digest import fold_digest
from projections.ports import PortUnavailable
from projections.protocol import Projection
from projections.runner import LostRace, Runner

POLL_S = 0.2
IDLE_CHECK_EVERY_S = 2.0
COMMIT_EVERY_S = 5.0
_PASSING = (PortUnavailable, LostRace, RegistryUnavailable, SQLAlchemyError)


def main(settings: Settings) -> None:
    """Run until SIGTERM. One thread a projection; a failing one is tried again without disturbing the others."""
    stop = stop_event()
    tame_collector()
    failures: list[BaseException] = []

    def guarded(projection: Projection[Any]) -> None:
        try:
            follow(settings, projection, stop)
        except BaseException as error:
            # An error that does not pass by itself ends the process: its supervisor tells, and starts it anew.
            failures.append(error)
            stop.set()
            raise

    threads = [threading.Thread(target=guarded, args=(p,), name=p.name) for p in PROJECTIONS.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"projections stopped: {failures[0]!r}")


def follow(settings: Settings, projection: Projection[Any], stop: threading.Event) -> None:
    """Follow one projection's stream until ``stop``; whatever server goes away, wait for it."""
    assert settings.postgres_url is not None
    engine = reader_engine(settings.postgres_url, pool_size=2)
    reporter = StageReporter(engine, projection.name)

    def told(reason: str) -> None:
        try:
            reporter.report(Progress(state=reason))
        except SQLAlchemyError:
            return  # Postgres itself is away: the silence of this stage says so

    def attempt() -> None:
        run(settings, projection, engine, reporter, stop)

    run_until_stopped(attempt, stop, _PASSING, told)


def run(
    settings: Settings, projection: Projection[Any], engine: Engine, reporter: StageReporter, stop: threading.Event
) -> None:
    """One life of a runner: from connecting to the first error."""
    assert settings.redis_url is not None
    redis = connect(settings.redis_url)
    check_never_evicts(redis)
    generation = claim(engine, projection.name, projection.fold_version, fold_digest(projection))
    log = PostgresLog(engine)
    topic = make_topic(settings, topics(settings)[projection.stream], f"{projection.name}-{generation}")
    runner = Runner(
        projection,
        log_port=log,
        topic=topic,
        sink=RedisSink(redis, projection.name, generation),
        decode=Codec(schema_ids(settings, engine)).decode,
        partitions=settings.topic_partitions,
    )
    try:
        observer = _Observer(projection, runner, log, reporter)
        every_2s = _Every(IDLE_CHECK_EVERY_S, runner.idle_check)
        every_5s = _Every(COMMIT_EVERY_S, runner.commit)
        while not stop.is_set():
            runner.step(POLL_S)
            every_2s.tick()
            every_5s.tick()
            observer.look()
        runner.commit()
    finally:
        topic.close()
        redis.close()


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


class _Observer:
    """Tells the stage table and the metrics, once a second, how far the projection is."""

    def __init__(
        self, projection: Projection[Any], runner: Runner[Any], log: PostgresLog, reporter: StageReporter
    ) -> None:
        self._projection = projection
        self._runner = runner
        self._log = log
        self._reporter = reporter
        self._totals = {
            what: metrics.Total(metrics.PROJECTION_EVENTS.labels(projection.name, what))
            for what in ("applied", "duplicates", "gaps", "filled", "lost_races", "resets", "foreign")
        }

    def look(self) -> None:
        if not self._reporter.due():
            return
        counters = self._runner.counters
        lag = self._runner.lag(self._log.head(self._projection.stream))
        shards = len(self._runner.fences())
        self._reporter.report(
            Progress(
                state="running" if shards else "waiting for Kafka to assign partitions",
                position=counters.position,
                lag_events=lag,
                newest_ms=counters.event_time_ms,
                detail={"shards": shards, **{what: getattr(counters, what) for what in self._totals}},
            )
        )
        for what, total in self._totals.items():
            total.is_now(getattr(counters, what))
        stage = self._projection.name
        metrics.STAGE_POSITION.labels(stage).set(counters.position)
        metrics.STAGE_LAG.labels(stage).set(lag)
        if counters.event_time_ms:
            metrics.STAGE_FRESHNESS.labels(stage).set(time.time() - counters.event_time_ms / 1000)
