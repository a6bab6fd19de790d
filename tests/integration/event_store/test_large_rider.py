"""A rider with very many pings loads as fast as one with few: by a snapshot and the few events after it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from domain.events.contracts import Codec
from domain.identifiers import aggregate_id
from domain.riders.application import Riders
from infrastructure.event_store.aggregates import EventStoreFactory, SnapshotRecorder
from infrastructure.event_store.log_reader import PostgresHistory
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import writer_engine
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.reports.proofs import whole
from tests.unit.domain.given import NOW_MS, a_ping

PINGS = 1_000_000 if whole() else 20_000
BATCH = 500
EVERY = 1_000


@pytest.mark.proof
def test_a_rider_with_a_million_pings_is_loaded_from_a_snapshot(
    postgres_url: str, record_property: Callable[[str, object], None]
) -> None:
    engine = writer_engine(postgres_url)
    history = PostgresHistory(engine)

    def riders() -> Riders:
        factory = EventStoreFactory(EventRecorder(engine), SnapshotRecorder(engine), Codec(LocalSchemaIds()))
        return Riders(factory, history, snapshot_every=EVERY)

    writer = riders()
    template = a_ping()
    for first in range(0, PINGS, BATCH):
        batch = [
            template._replace(event_timestamp_ms=NOW_MS + n, event_id=f"00000000-0000-4000-8000-{n:012x}")
            for n in range(first, first + BATCH)
        ]
        assert all(outcome.is_new for outcome in writer.record_pings(batch))
    stream = history.streams([aggregate_id("Rider", "anna")])[aggregate_id("Rider", "anna")]
    assert stream[0].originator_version >= PINGS - 2 * EVERY
    assert len(stream) <= EVERY + BATCH + 1
    reader = riders()
    started = time.perf_counter()
    (again,) = reader.record_pings([template._replace(event_id=f"00000000-0000-4000-8000-{0:012x}")])
    record_property("load, look back and decide, ms", round((time.perf_counter() - started) * 1000, 1))
    assert (again.is_new, again.position) == (False, 2)
    assert reader.get("anna").pings == PINGS
    engine.dispose()
