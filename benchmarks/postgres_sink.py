"""The cost of the Postgres sink per batch: 5,000 pings of 1,000 riders, folded by ``analytics`` before the measurement.

It is compared with the limit: COPY of the same states and rows into tables without an index, a merge or a fence.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg2

from benchmarks.support import START_MS, postgres, report
from domain.identifiers import SHARDS, shard_of
from infrastructure.postgres.copy_text import copy_text
from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.projection_sink import PostgresSink
from infrastructure.process_pool import tune_gc
from projections.analytics import ANALYTICS
from projections.core.fold import Fold
from projections.core.ports import Fence, LoggedEvent, ShardWrite
from read_models.analytics.tables import TABLES

BATCH = 5_000
RIDERS = 1_000
BATCHES = 48
WARM_UP = 8
PING_INTERVAL_MS = 180_000
"""Long, so that a batch spans many minutes: together with the riders' hours, about 2,000 rows."""


def main() -> None:
    tune_gc()
    batches = list(folded())
    with postgres() as url:
        engine = reader_engine(url)
        sink = PostgresSink(engine, ANALYTICS, 1)
        applied = seconds_of(lambda batch: all(sink.apply(batch)), batches)
        engine.dispose()
    with postgres() as url:
        copied = raw_copy(url, batches)
    ours, limit = statistics.median(applied), statistics.median(copied)
    report(
        "postgres_sink",
        {
            "states a batch": statistics.mean(sum(len(write.states) for write in batch) for batch in batches),
            "rows a batch": statistics.mean(sum(len(write.rows) for write in batch) for batch in batches),
            "apply, median ms a batch of 5,000 events": ours * 1_000,
            "apply, slowest ms": max(applied) * 1_000,
            "apply, events/s": BATCH / ours,
            "raw COPY of the same, median ms": limit * 1_000,
            "ratio apply / raw COPY": ours / limit,
        },
    )


def seconds_of(work: Callable[[list[ShardWrite]], bool], batches: Sequence[list[ShardWrite]]) -> list[float]:
    """Seconds of each batch except the first ones, which find empty tables and an unused connection."""
    seconds = []
    for batch in batches:
        started = time.perf_counter()
        assert work(batch)
        seconds.append(time.perf_counter() - started)
    return seconds[WARM_UP:]


def folded() -> Iterator[list[ShardWrite]]:
    """Batches as a worker with all shards writes them to its sink."""
    fold = Fold(ANALYTICS, record, lambda: START_MS)
    states: list[dict[str, Any]] = [{} for _ in range(SHARDS)]
    fences: list[Fence | None] = [None] * SHARDS
    for first in range(0, BATCH * BATCHES, BATCH):
        by_shard: dict[int, list[LoggedEvent]] = {}
        for number in range(first, first + BATCH):
            key = f"rider-{number % RIDERS}"
            shard = shard_of(key)
            event = LoggedEvent(number + 1, shard, 0, key, number // RIDERS + 1, "GpsPing", str(number).encode())
            by_shard.setdefault(shard, []).append(event)
        batch = []
        for shard, events in by_shard.items():
            done = fold.run(events, states[shard].get, (), ())
            states[shard].update(done.states)
            before = fences[shard]
            after = Fence("log", "one", len(events) + (before.seq if before else 0), events[-1].position)
            batch.append(ShardWrite(shard, before, after, done.encoded, done.rows))
            fences[shard] = after
        yield batch


def record(payload: bytes) -> dict[str, Any]:
    """A ping of a rider who goes north at about 7.5 m/s."""
    number = int(payload)
    turn, rider = divmod(number, RIDERS)
    at_ms = START_MS + turn * PING_INTERVAL_MS + rider * 180
    return {
        "latitude": 48.0 + turn * 0.012 + number % 89 * 1e-5,
        "longitude": 13.4 + rider * 1e-4,
        "event_timestamp_ms": at_ms,
        "received_timestamp_ms": at_ms + rider * 100,
        "accuracy_meters": 5.0,
        "event_id": f"00000000-0000-4000-8000-{number:012d}",
    }


def raw_copy(url: str, batches: Sequence[list[ShardWrite]]) -> list[float]:
    """Seconds of COPY in one transaction per batch, formatted by the same code as in the sink."""
    connection = psycopg2.connect(url)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE raw_states (shard smallint, key text, state bytea)")
    for rows in TABLES:
        listed = ", ".join((*rows.key, *rows.add, *rows.latest))
        cursor.execute(f"CREATE TABLE raw_{rows.table.name} AS SELECT shard, {listed} FROM {rows.table.name}")
    connection.commit()

    def copy(batch: list[ShardWrite]) -> bool:
        states = [(write.shard, key, state) for write in batch for key, state in write.states.items()]
        cursor.copy_expert("COPY raw_states FROM STDIN (ENCODING 'UTF8')", copy_text(states))
        for rows in TABLES:
            none = (None,) * len(rows.latest)
            found = [
                (write.shard, *row.key, *row.add, *(none if row.latest is None else row.latest))
                for write in batch
                for row in write.rows
                if row.table == rows.table.name
            ]
            cursor.copy_expert(f"COPY raw_{rows.table.name} FROM STDIN (ENCODING 'UTF8')", copy_text(found))
        connection.commit()
        return True

    seconds = seconds_of(copy, batches)
    connection.close()
    return seconds


if __name__ == "__main__":
    main()
