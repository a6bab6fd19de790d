"""How far a projection is, by its fences: the word of the store that is read."""

from __future__ import annotations

import time
from typing import Any

from domain.identifiers import SHARDS
from infrastructure.embedded.data_dir import RunInfo
from infrastructure.event_store.engine import reader_engine
from infrastructure.redis.connection import connect
from infrastructure.sinks import Stores
from projections.protocol import Projection


def wait_folded(info: RunInfo, projection: Projection[Any], events: int, within_s: float) -> float:
    """Wait until generation 1 has applied ``events`` events in all; the instant, on the clock of perf_counter.

    SystemExit when it has not within ``within_s``.
    """
    client, engine = connect(info.redis_url), reader_engine(info.postgres_url, pool_size=1)
    sink = Stores(engine, client).sink(projection, 1)
    deadline = time.monotonic() + within_s
    try:
        while True:
            applied = sum(fence.seq for fence in sink.fences(range(SHARDS)) if fence)
            if applied >= events:
                return time.perf_counter()
            if time.monotonic() > deadline:
                raise SystemExit(f"{projection.name} has applied {applied:,} of {events:,} events in {within_s:.0f} s")
            time.sleep(0.01)  # looking often enough to time it
    finally:
        client.close()
        engine.dispose()
