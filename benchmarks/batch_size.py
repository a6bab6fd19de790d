"""The cost of a record by batch size: CPU of worker and servers, for every projection on real stores.

python -m benchmarks.batch_size

Each size is compared with the cost of a record in a batch of 4,000, where the fixed costs (a fence per shard, a round
trip, a transaction) hardly count. The policies in infrastructure/processes/projection_worker.py follow from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.cpu import here_and_below
from benchmarks.support import postgres, redis_server, report
from domain.events.contracts import Codec
from domain.identifiers import SHARDS, shard_of
from infrastructure.postgres.engine import sink_engine
from infrastructure.process_pool import tune_gc
from infrastructure.redis.connection import connect_server
from infrastructure.sinks.factory import Stores
from projections.catalogue import of_stream
from projections.core.ports import LoggedEvent
from projections.core.projection import Projection
from projections.live.stream_follower import StreamFollower
from tests.support.ports_in_memory.projection_ports import MemoryLog, ScriptedTopic
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.postgres.many_events import many_events

SIZES = (50, 100, 200, 500, 1_000, 4_000, 20_000)
LARGE = 4_000
RIDERS = 5_000
PINGS = 120_000
BATCHES = 60
"""Maximum number of measured batches per size. The events before them are one batch that fills the windows."""


def main() -> None:
    tune_gc()
    codec = Codec(LocalSchemaIds())
    events = logged(codec)
    figures: dict[str, float] = {}
    with postgres() as url, redis_server() as redis_url:
        engine, client = sink_engine(url), connect_server(redis_url)
        stores = Stores(engine, client)
        for projection in of_stream("Rider").values():
            found = {
                size: cost(projection, stores, number, codec, events, size) for number, size in enumerate(SIZES, 2)
            }
            for size, seconds in found.items():
                figures[f"{projection.name}, {size:,} at once: CPU µs a ping"] = seconds * 1e6
                figures[f"{projection.name}, {size:,} at once: ratio to {LARGE:,}"] = seconds / found[LARGE]
        client.close()
        engine.dispose()
    report("batch_size", figures)


def logged(codec: Codec) -> list[LoggedEvent]:
    """Pings of RIDERS in turn, as they arrive from the topic."""
    seqs = [0] * SHARDS
    events = []
    for position, event in enumerate(many_events(codec, PINGS, RIDERS), 1):
        shard = shard_of(event.aggregate_key)
        seqs[shard] += 1
        events.append(
            LoggedEvent(
                position,
                shard,
                seqs[shard],
                event.aggregate_key,
                event.originator_version,
                event.topic,
                event.state,
            )
        )
    return events


class DeliveredLog(MemoryLog):
    """A log whose head is at the events that the topic delivers, so that none of them is beyond it."""

    def add(self, events: Sequence[LoggedEvent]) -> None:
        self.events += events
        for event in events:
            self._seqs[event.shard] = event.seq


def cost(
    projection: Projection[Any],
    stores: Stores,
    generation: int,
    codec: Codec,
    events: Sequence[LoggedEvent],
    size: int,
) -> float:
    """CPU seconds per ping of this process and the servers."""
    topic, log = ScriptedTopic(), DeliveredLog()
    sink = stores.sink(projection, generation)
    runner = StreamFollower(projection, log_port=log, consumer=topic, sink=sink, decode=codec.decode, partitions=8)
    runner.step(0)
    log.add(events)
    measured = min(len(events) // 2, size * BATCHES)
    topic.deliver(events[:-measured])
    runner.step(0)
    parts = [events[first : first + size] for first in range(len(events) - measured, len(events), size)]
    for part in parts:
        topic.deliver(part)
    before = here_and_below()
    applied = sum(runner.step(0) for _ in parts)
    assert applied == measured, f"{applied} of {measured} applied"
    return (here_and_below() - before) / measured


if __name__ == "__main__":
    main()
