"""The trips as a recorded log give the vectors of the walk in memory: the errors are those of recorded deliveries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.eta_backfilled import WalkedEvent, history, walk_log
from benchmarks.eta_walk import PINGS, Sample, TaxiPing, Trip, read_pings, read_trips, walk
from domain.deliveries.joint_backfill import JointBackfill
from domain.events.contracts import Codec
from domain.riders.application import Riders
from infrastructure.event_store.aggregates import EventStoreFactory
from tests.support.ports_in_memory.event_store import MemoryEventStore
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.worlds.tracks import folder as real_folder

CODEC = Codec(LocalSchemaIds())
REAL_TAXIS, REAL_PINGS = 3, 800


def recorded(pings: list[TaxiPing], trips: dict[str, Trip]) -> list[WalkedEvent]:
    """The events of the log, in the order of positions."""
    store = MemoryEventStore()
    joint = JointBackfill(Riders(EventStoreFactory(store, store.snapshots, CODEC), store))
    items = iter(history(pings, trips))
    while batch := list(islice(items, 97)):
        assert all(outcome.is_new and outcome.rejection is None for outcome in joint.record(batch))
    return list(decoded(store))


def decoded(store: MemoryEventStore) -> Iterator[WalkedEvent]:
    for event in store.log:
        data = CODEC.decode(event.state)
        assert data is not None
        yield WalkedEvent(event.stream, event.aggregate_key, event.topic, data)


def check_equal(pings: list[TaxiPing], trips: dict[str, Trip]) -> list[Sample]:
    events = recorded(pings, trips)
    expected = list(walk(pings, trips))
    assert list(walk_log(events, trips)) == expected
    kinds = Counter(event.event_type for event in events)
    assert kinds["GpsPing"] == len(pings)
    assert kinds["DeliveryPlaced"] == kinds["DeliveryPickedUp"] == len({ping.trip_id for ping in pings} - {""})
    return [sample for _, sample in expected if sample is not None]


def test_a_recorded_town_gives_the_vectors_of_the_walk_in_memory(town: Path) -> None:
    assert len(check_equal(read_pings(town), read_trips(town))) > 1_000


def test_recorded_real_trips_give_the_vectors_of_the_walk_in_memory() -> None:
    folder = real_folder()
    if not (folder / PINGS).exists():
        pytest.skip(f"{folder} has no {PINGS}")
    pings = read_pings(folder)
    taxis = sorted({ping.rider_id for ping in pings})[:REAL_TAXIS]
    part = [ping for taxi in taxis for ping in islice((each for each in pings if each.rider_id == taxi), REAL_PINGS)]
    assert len(check_equal(sorted(part), read_trips(folder))) > 300
