"""The table ``deliveries``: one row an order, which its last event wrote, however its events came."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from domain.features.delivery_row import EMPTY, fold
from domain.features.keyed_event import KeyedEvent
from domain.identifiers import SHARDS, shard_of
from infrastructure.embedded.postgres import Postgres
from infrastructure.postgres.engine import sink_engine
from infrastructure.postgres.projection_sink import PostgresSink
from projections.deliveries import DELIVERIES
from projections.live.stream_follower import StreamFollower
from projections.rebuild.catch_up import CatchUp
from projections.rebuild.comparison import digest
from read_models.deliveries.rows import COLUMNS
from read_models.deliveries.tables import deliveries
from tests.support.ports_in_memory.projection_ports import MemoryLog, ScriptedTopic
from tests.support.servers.servers import fresh_database
from tests.support.worlds.order_events import Event, order_histories, placed, step


@pytest.fixture(scope="module")
def engine(migrated_postgres: Postgres) -> Iterator[Engine]:
    with fresh_database(migrated_postgres) as url:
        engine = sink_engine(url)
        yield engine
        engine.dispose()


def expected(history: list[Event]) -> dict[str, tuple[Any, ...]]:
    """The last state of each order, by the fold alone."""
    states: dict[str, Any] = {}
    versions: dict[str, int] = {}
    for position, (key, event_type, data) in enumerate(history, start=1):
        versions[key] = versions.get(key, 0) + 1
        states[key] = fold(states.get(key, EMPTY), KeyedEvent(key, versions[key], position, event_type, data))
    return {key: (shard_of(key), *state) for key, state in states.items()}


def stored(engine: Engine, generation: int) -> dict[str, tuple[Any, ...]]:
    c = deliveries.c
    query = select(c.order_id, c.shard, *(c[name] for name in COLUMNS)).where(c.generation == generation)
    with engine.connect() as connection:
        return {row[0]: tuple(row[1:]) for row in connection.execute(query)}


def test_an_order_that_lost_its_rider_shows_none(engine: Engine) -> None:
    """A null replaces a value: elsewhere in a row it leaves the value as it is."""
    log, sink = MemoryLog("Delivery"), PostgresSink(engine, DELIVERIES, 1)
    history = [placed("order-7", 0), step("order-7", "DeliveryAssigned", 60), step("order-7", "DeliveryUnassigned", 90)]
    for count in (2, 3):
        for event in history[len(log.events) : count]:
            log.append(*event)
        CatchUp(DELIVERIES, log, sink, json.loads, range(SHARDS)).run()
        assert stored(engine, 1) == expected(history[:count])
    assert stored(engine, 1)["order-7"][3:5] == ("placed", None)
    sink.drop()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(history=order_histories(), data=st.data())
def test_invariant_8_live_with_duplicates_equals_a_rebuild_and_the_fold(
    engine: Engine, history: list[Event], data: st.DataObject
) -> None:
    log, topic = MemoryLog("Delivery"), ScriptedTopic()
    live, rebuilt = PostgresSink(engine, DELIVERIES, 2), PostgresSink(engine, DELIVERIES, 3)
    follower: StreamFollower[Any] = StreamFollower(
        DELIVERIES, log_port=log, consumer=topic, sink=live, decode=json.loads, partitions=8
    )
    follower.step(0)
    for event in history:
        log.append(*event)
    for _ in range(data.draw(st.integers(0, 3))):
        topic.deliver(data.draw(st.lists(st.sampled_from(log.events), max_size=20)))
    topic.deliver(log.events)
    while topic.batches:
        follower.step(0)
    CatchUp(DELIVERIES, log, rebuilt, json.loads, range(SHARDS)).run()
    try:
        assert stored(engine, 2) == stored(engine, 3) == expected(history)
        assert [digest(live.dump(shard)) for shard in range(SHARDS)] == [
            digest(rebuilt.dump(shard)) for shard in range(SHARDS)
        ]
    finally:
        live.drop()
        rebuilt.drop()
    assert stored(engine, 2) == {}
