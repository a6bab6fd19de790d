"""Fills a generation from the event store on one core: reading only, reading and folding, and with the sink."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.support import postgres, ready_events, redis_server, report
from domain.events.contracts import Codec
from domain.identifiers import SHARDS
from infrastructure.event_store.log_reader import PostgresLog
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.postgres.projection_sink import PostgresSink
from infrastructure.process_pool import tune_gc
from infrastructure.redis.connection import connect_server
from infrastructure.redis.projection_sink import RedisSink
from projections.analytics import ANALYTICS
from projections.core.ports import ApplyOutcome, ShardWrite, Sink
from projections.core.projection import Projection
from projections.core.shard_processor import CHUNK_POSITIONS
from projections.rebuild.catch_up import CatchUp
from projections.speed import SPEED
from tests.support.ports_in_memory.projection_ports import MemorySink
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds

EVENTS = 300_000


class FenceOnlySink(MemorySink):
    """A sink that stores only fences, so that reading, decoding, folding and encoding are measured."""

    def _one(self, write: ShardWrite) -> ApplyOutcome:
        self.held[write.shard] = write.new
        return ApplyOutcome.APPLIED


def rate(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return EVENTS / (time.perf_counter() - started)


def fill(log: PostgresLog, projection: Projection[Any], sink: Sink) -> None:
    shards: Sequence[int] = range(SHARDS)
    CatchUp(projection, log, sink, Codec(LocalSchemaIds()).decode, shards).run()


def read(log: PostgresLog) -> None:
    for after in range(0, EVENTS, CHUNK_POSITIONS):
        log.read_positions("Rider", range(SHARDS), after, after + CHUNK_POSITIONS)


def main() -> None:
    tune_gc()
    with postgres() as url, redis_server() as redis_url:
        writer = writer_engine(url)
        recorder, events = EventRecorder(writer), ready_events(EVENTS)
        for first in range(0, EVENTS, 1_000):
            recorder.insert_events(events[first : first + 1_000])
        writer.dispose()
        engine = reader_engine(url)
        log, client = PostgresLog(engine), connect_server(redis_url)
        reading = rate(lambda: read(log))
        folding = rate(lambda: fill(log, SPEED, FenceOnlySink()))
        stored = rate(lambda: fill(log, SPEED, RedisSink(client, "speed", 1)))
        analytics = rate(lambda: fill(log, ANALYTICS, FenceOnlySink()))
        analytics_stored = rate(lambda: fill(log, ANALYTICS, PostgresSink(engine, ANALYTICS, 1)))
        client.close()
        engine.dispose()
    report(
        "rebuild",
        {
            "reading the log, events/s": reading,
            "reading and folding, events/s": folding,
            "with the Redis sink, events/s": stored,
            "ratio with sink / reading only": stored / reading,
            "analytics: reading and folding, events/s": analytics,
            "analytics: with the Postgres sink, events/s": analytics_stored,
            "analytics: ratio with sink / reading only": analytics_stored / reading,
        },
    )


if __name__ == "__main__":
    main()
