"""How far projections are, by their fences in the store that is read."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from domain.identifiers import SHARDS
from infrastructure.embedded.data_dir import RunInfo
from infrastructure.event_store.log_head import read_head
from infrastructure.postgres.engine import reader_engine
from infrastructure.redis.connection import connect_server
from infrastructure.sinks.factory import Stores
from projections.catalogue import of_stream
from projections.core.ports import Sink
from projections.core.projection import Projection

POLL_INTERVAL_S = 1.0


@contextmanager
def farthest_behind(info: RunInfo) -> Iterator[dict[str, int]]:
    """The largest lag in events of each projection's generation 1 behind the log, sampled once a second."""
    client, engine = connect_server(info.redis_url), reader_engine(info.postgres_url, pool_size=1)
    stop, found = threading.Event(), dict.fromkeys(of_stream("Rider"), 0)
    sinks = {name: Stores(engine, client).sink(one, 1) for name, one in of_stream("Rider").items()}

    def sample() -> None:
        while not stop.wait(POLL_INTERVAL_S):
            for name, sink in sinks.items():
                with engine.connect() as connection:
                    head = read_head(connection).position
                found[name] = max(found[name], head - _applied(sink))

    with ThreadPoolExecutor(1) as sampler:
        done = sampler.submit(sample)
        try:
            yield found
        finally:
            stop.set()
            done.result()
            client.close()
            engine.dispose()


def wait_folded(info: RunInfo, projection: Projection[Any], events: int, within_s: float) -> float:
    """Wait until generation 1 has applied ``events`` events in total. Returns the time on the clock of perf_counter.

    Raises SystemExit if that takes longer than ``within_s``.
    """
    client, engine = connect_server(info.redis_url), reader_engine(info.postgres_url, pool_size=1)
    sink = Stores(engine, client).sink(projection, 1)
    deadline = time.monotonic() + within_s
    try:
        while True:
            if _applied(sink) >= events:
                return time.perf_counter()
            if time.monotonic() > deadline:
                raise SystemExit(f"{projection.name} has not applied {events:,} events in {within_s:.0f} s")
            time.sleep(0.01)  # short enough to measure the time
    finally:
        client.close()
        engine.dispose()


def _applied(sink: Sink) -> int:
    return sum(fence.seq for fence in sink.fences(range(SHARDS)) if fence)
