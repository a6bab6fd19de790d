"""One ping per request, as phones send them, until its commit: our command side and an Application of the library.

python -m benchmarks.one_by_one

Both decide with an aggregate that is cached in memory, write its event and answer after the commit. The library uses
its own recorder, JSON and cache, with one save per ping, as its users write it, and with the number of threads that
suits it best. Ours puts all waiting pings into one transaction (`infrastructure/ingest/group_commit.py`). In `append`
both recorders get ready batches of 1,000; this benchmark shows where such batches come from.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from benchmarks.cpu import here_and_below
from benchmarks.results import at_least, report
from benchmarks.support import START_MS, postgres, server_of
from domain.events.contracts import Codec
from domain.gps_ping import GpsPing, parse_ping
from domain.riders.application import PingOutcome, Riders
from infrastructure.event_store.aggregates import EventStoreFactory, SnapshotRecorder
from infrastructure.event_store.log_reader import PostgresHistory
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.ingest.group_commit import GroupCommit
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.settings.postgres_url import sqlalchemy_url
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds

PHONES = (32, 256)
"""Numbers of phones that send concurrently, each its next ping when the last one is answered."""
PINGS = 9_984
"""The total number of pings: a multiple of each number of phones."""
THREADS = (1, 4, 16)
"""Numbers of threads of the library's Application; the best result counts."""


class Cost(NamedTuple):
    """Pings per second, and CPU microseconds per ping of client and server together."""

    rate: float
    cpu_us: float


class Phone(Aggregate):
    """A rider as a user of the library would model it."""

    @event("Started")
    def __init__(self, rider_id: str) -> None:
        self.rider_id = rider_id
        self.last_ms = 0

    @event("Pinged")
    def ping(self, latitude: float, longitude: float, timestamp_ms: int, accuracy_m: float) -> None:
        self.last_ms = timestamp_ms


class Phones(Application[UUID]):
    """Caches aggregates in memory, as ours does, and does not read others' events before each save."""


def item_of(phone: int, number: int) -> dict[str, Any]:
    return {
        "rider_id": f"rider-{phone}",
        "latitude": 52.5 + number / 1e5,
        "longitude": 13.4,
        "event_timestamp_ms": START_MS + number * 1_000,
        "accuracy_meters": 5.0,
    }


@contextmanager
def measured(found: list[Cost]) -> Iterator[None]:
    """Measure the cost of PINGS pings."""
    started, cpu = time.perf_counter(), here_and_below()
    yield
    seconds, cpu = time.perf_counter() - started, here_and_below() - cpu
    found.append(Cost(PINGS / seconds, cpu / PINGS * 1e6))


def ours(url: str, phones: int) -> Cost:
    writer, reader = writer_engine(url), reader_engine(url)
    factory = EventStoreFactory(EventRecorder(writer), SnapshotRecorder(writer), Codec(LocalSchemaIds()))
    commits = GroupCommit(Riders(factory, PostgresHistory(reader)).record_pings)
    found: list[Cost] = []

    def ping(phone: int, number: int) -> GpsPing:
        return parse_ping(item_of(phone, number), START_MS + number * 1_000)

    async def sends(phone: int, numbers: range) -> list[PingOutcome]:
        return [outcome for number in numbers for outcome in await commits.submit([ping(phone, number)])]

    async def all_send() -> None:
        await asyncio.gather(*(sends(phone, range(1)) for phone in range(phones)))
        with measured(found):
            numbers = range(1, PINGS // phones + 1)
            sent = await asyncio.gather(*(sends(phone, numbers) for phone in range(phones)))
        assert all(outcome.is_new for outcomes in sent for outcome in outcomes)

    commits.start()
    asyncio.run(all_send())
    commits.stop()
    writer.dispose()
    reader.dispose()
    return found[0]


def library(url: str, phones: int, threads: int) -> Cost:
    at, (host, port) = sqlalchemy_url(url), server_of(url)
    app = Phones(
        {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": at.database or "",
            "POSTGRES_HOST": host,
            "POSTGRES_PORT": port,
            "POSTGRES_USER": at.username or "",
            "POSTGRES_PASSWORD": at.password or "",
            "POSTGRES_POOL_SIZE": str(threads),
            "AGGREGATE_CACHE_MAXSIZE": "100000",
            "AGGREGATE_CACHE_FASTFORWARD": "n",
        }
    )
    found: list[Cost] = []
    started = [Phone(rider_id=f"rider-{phone}") for phone in range(phones)]
    app.save(*started)

    def sends(phone: int) -> None:
        for number in range(1, PINGS // phones + 1):
            item = item_of(phone, number)
            one: Phone = app.repository.get(started[phone].id)
            one.ping(item["latitude"], item["longitude"], item["event_timestamp_ms"], item["accuracy_meters"])
            app.save(one)

    with ThreadPoolExecutor(threads) as pool, measured(found):
        list(pool.map(sends, range(phones)))
    last: Phone = app.repository.get(started[0].id)
    app.close()
    assert last.version == PINGS // phones + 1
    return found[0]


def main() -> None:
    figures: dict[str, object] = {}
    targets = {}
    for phones in PHONES:
        with postgres() as url:
            mine = ours(url, phones)
        others = []
        for threads in THREADS:
            with postgres() as url:
                others.append(library(url, phones, threads))
        other = max(others)
        ratio = f"{phones} phones: ratio ours / the library's Application at its best"
        figures |= {
            f"{phones} phones: ours, pings/s": mine.rate,
            **{
                f"{phones} phones: the library's Application, {threads} threads, pings/s": one.rate
                for threads, one in zip(THREADS, others, strict=True)
            },
            ratio: mine.rate / other.rate,
            f"{phones} phones: ours, CPU µs a ping": mine.cpu_us,
            f"{phones} phones: the library's Application at its best, CPU µs a ping": other.cpu_us,
        }
        targets[ratio] = at_least(5)
    report("one_by_one", figures, targets)


if __name__ == "__main__":
    main()
