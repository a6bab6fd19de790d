"""What a ping and a rider take: bytes in Postgres, in the WAL and in Redis, and CPU of each projection of the riders.

The inputs of ``benchmarks/scaling.py`` that no other benchmark measures.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import redis
from sqlalchemy import Engine, text

from benchmarks.batch_size import DeliveredLog, cost, logged
from benchmarks.results import report
from benchmarks.support import postgres, ready_events, redis_server
from domain.events.contracts import Codec
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import sink_engine, writer_engine
from infrastructure.process_pool import tune_gc
from infrastructure.redis.connection import connect_server
from infrastructure.sinks.factory import Stores
from projections.catalogue import of_stream
from projections.core.ports import LoggedEvent
from projections.core.projection import Projection
from projections.live.stream_follower import StreamFollower
from tests.support.ports_in_memory.projection_ports import ScriptedTopic
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds

APPENDED = 200_000
BATCH = 1_000
RIDERS = 5_000
PINGS_A_RIDER = 12
"""More than a window of ten, so that every state has its full size."""
FOLDED = 40_000
"""Half of them are measured, in batches of BATCH."""


def stored_bytes(url: str) -> dict[str, float]:
    """Bytes of a ping in the event store, with all indexes, and in its WAL."""
    engine = writer_engine(url)
    recorder = EventRecorder(engine)
    events = ready_events(APPENDED, apart_ms=100)
    recorder.insert_events(events[:BATCH])  # makes the partitions
    before, wal = table_bytes(engine), wal_bytes(engine)
    for first in range(BATCH, APPENDED, BATCH):
        recorder.insert_events(events[first : first + BATCH])
    count = APPENDED - BATCH
    figures = {
        "payload, bytes a ping": statistics.mean(len(event.state) for event in events),
        "event store, bytes a ping": (table_bytes(engine) - before) / count,
        "WAL, bytes a ping": (wal_bytes(engine) - wal) / count,
    }
    engine.dispose()
    return figures


def table_bytes(engine: Engine) -> int:
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'events'::regclass")
        )
        return int(found.scalar_one())


def wal_bytes(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")).scalar_one())


def bytes_a_rider(
    projection: Projection[Any], stores: Stores, client: redis.Redis, codec: Codec, events: Sequence[LoggedEvent]
) -> float:
    """Memory of Redis for one rider of a projection."""
    topic, log = ScriptedTopic(), DeliveredLog()
    follower = StreamFollower(
        projection,
        log_port=log,
        consumer=topic,
        sink=stores.sink(projection, 1_000),
        decode=codec.decode,
        partitions=8,
    )
    follower.step(0)
    log.add(events)
    before = int(client.info("memory")["used_memory"])
    for first in range(0, len(events), BATCH):
        topic.deliver(events[first : first + BATCH])
        follower.step(0)
    riders = len({event.key for event in events})
    return (int(client.info("memory")["used_memory"]) - before) / riders


def main() -> None:
    tune_gc()
    codec = Codec(LocalSchemaIds())
    events = logged(codec)
    figures: dict[str, float] = {}
    with postgres() as url, redis_server() as redis_url:
        figures |= stored_bytes(url)
        engine, client = sink_engine(url), connect_server(redis_url)
        stores = Stores(engine, client)
        for projection in of_stream("Rider").values():
            if projection.store == "redis":
                some = events[: RIDERS * PINGS_A_RIDER]
                figures[f"{projection.name}, bytes a rider in Redis"] = bytes_a_rider(
                    projection, stores, client, codec, some
                )
            seconds = cost(projection, stores, 2, codec, events[:FOLDED], BATCH)
            figures[f"{projection.name}, {BATCH:,} at once: CPU µs a ping, worker and store"] = seconds * 1e6
        client.close()
        engine.dispose()
    report("footprint", figures)


if __name__ == "__main__":
    main()
