"""The command side of processes on one event store, in memory or on Postgres, for the contract of deliveries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from domain.deliveries.application import Deliveries
from domain.deliveries.batch import CommandOutcome
from domain.events.contracts import Codec
from domain.riders.application import Riders
from infrastructure.event_store.aggregates import EventStoreFactory, SnapshotRecorder
from infrastructure.event_store.log_reader import PostgresHistory
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import writer_engine
from tests.support.ports_in_memory.event_store import MemoryEventStore
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds

CODEC = Codec(LocalSchemaIds())


class Process(NamedTuple):
    """The command side of one process."""

    riders: Riders
    deliveries: Deliveries


MakeProcess = Callable[..., Process]


@contextmanager
def processes(postgres_url: str | None) -> Iterator[MakeProcess]:
    """Command sides on one event store, in memory without a URL; for the store, each call is another process."""
    if postgres_url is None:
        store = MemoryEventStore()

        def in_memory(**options: Any) -> Process:
            riders = Riders(EventStoreFactory(store, store.snapshots, CODEC), store)
            return Process(riders, Deliveries(riders, **options))

        yield in_memory
        return
    engine = writer_engine(postgres_url)

    def on_postgres(**options: Any) -> Process:
        recorder = EventRecorder(engine, partition_rows=1000)
        riders = Riders(EventStoreFactory(recorder, SnapshotRecorder(engine), CODEC), PostgresHistory(engine))
        return Process(riders, Deliveries(riders, **options))

    try:
        yield on_postgres
    finally:
        engine.dispose()


def codes(outcomes: list[CommandOutcome]) -> list[object]:
    """What became of each command: recorded, a repeat, or the type of its rejection."""
    return [type(o.rejection) if o.rejection else "recorded" if o.recorded else "repeat" for o in outcomes]


def log_of(process: Process) -> list[tuple[str, int]]:
    """Type and version of every event, by position."""
    found = process.riders.recorder.select_notifications(1, 1_000)
    assert [event.id for event in found] == list(range(1, len(found) + 1))
    return [(event.topic, event.originator_version) for event in found]
