"""The tables of outcomes: what live folding, a rebuild and the fold alone give is the same, and so are the queries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, Select, text

from domain.features.keyed_event import KeyedEvent
from domain.features.outcomes.fold import EMPTY, fold
from domain.identifiers import SHARDS
from infrastructure.embedded.postgres import Postgres
from infrastructure.postgres.engine import sink_engine
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.postgres.projection_sink import PostgresSink
from projections.live.stream_follower import StreamFollower
from projections.outcomes import OUTCOMES
from projections.rebuild.catch_up import CatchUp
from projections.rebuild.comparison import digest
from read_models.generations import BY_INDEX
from read_models.outcomes import queries
from read_models.outcomes.in_memory import OutcomeRows
from read_models.outcomes.rows import SUMS, changes
from read_models.rows import RowChange, merged
from tests.support.ports_in_memory.projection_ports import MemoryLog, ScriptedTopic
from tests.support.servers.servers import fresh_database
from tests.support.worlds.order_events import START_MS, Event, order_histories

START = datetime.fromtimestamp(START_MS // 1_000, UTC).replace(minute=0, second=0)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def engine(migrated_postgres: Postgres) -> Iterator[Engine]:
    with fresh_database(migrated_postgres) as url:
        engine = sink_engine(url)
        PostgresGenerations(engine).first(OUTCOMES)
        yield engine
        engine.dispose()


def in_memory(history: list[Event]) -> OutcomeRows:
    """The rows by the fold alone."""
    states: dict[str, Any] = {}
    found = list[RowChange]()
    for position, (key, event_type, data) in enumerate(history, start=1):
        before = states.get(key, EMPTY)
        states[key] = fold(before, KeyedEvent(key, before.version + 1, position, event_type, data))
        found += changes(key, states[key])
    return OutcomeRows(merged(found))


def read(engine: Engine, query: Select[Any]) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        connection.execute(BY_INDEX)
        return [dict(row) for row in connection.execute(query).mappings()]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(history=order_histories(), data=st.data())
def test_invariant_8_live_with_duplicates_equals_a_rebuild_and_the_queries_equal_the_fold(
    engine: Engine, history: list[Event], data: st.DataObject
) -> None:
    log, topic = MemoryLog("Delivery"), ScriptedTopic()
    live, rebuilt = PostgresSink(engine, OUTCOMES, 1), PostgresSink(engine, OUTCOMES, 2)
    follower: StreamFollower[Any] = StreamFollower(
        OUTCOMES, log_port=log, consumer=topic, sink=live, decode=json.loads, partitions=8
    )
    follower.step(0)
    for event in history:
        log.append(*event)
    for _ in range(data.draw(st.integers(0, 3))):
        topic.deliver(data.draw(st.lists(st.sampled_from(log.events), max_size=20)))
    topic.deliver(log.events)
    while topic.batches:
        follower.step(0)
    CatchUp(OUTCOMES, log, rebuilt, json.loads, range(SHARDS)).run()
    expected = in_memory(history)
    since, until = START + data.draw(st.integers(0, 3)) * HOUR, START + data.draw(st.integers(1, 5)) * HOUR
    limit, place = data.draw(st.integers(1, 5)), data.draw(st.none() | st.just("52.5000,13.4000"))
    rider, after = data.draw(st.none() | st.sampled_from(["anna", "ćiro"])), data.draw(st.none() | st.just("anna"))
    hour = data.draw(st.none() | st.just(START + HOUR))
    try:
        assert [digest(live.dump(shard)) for shard in range(SHARDS)] == [
            digest(rebuilt.dump(shard)) for shard in range(SHARDS)
        ]
        hours = expected.hours(since, until, hour, limit)
        assert read(engine, queries.hours(since, until, hour, limit)) == hours
        places = expected.places(since, until, place, after, limit)
        assert read(engine, queries.places(since, until, place, after, limit)) == places
        riders = expected.riders(since, until, rider, after, limit)
        assert read(engine, queries.riders(since, until, rider, after, limit)) == riders
    finally:
        live.drop()
        rebuilt.drop()


def test_no_query_reads_a_whole_table(engine: Engine) -> None:
    with engine.begin() as connection:
        sums = ", ".join("1" for _ in SUMS)
        series = "generate_series(0, 199) h, generate_series(0, 15) s"
        hour = f"timestamptz '{START.isoformat()}' + h * interval '1 hour'"
        connection.execute(text(f"INSERT INTO outcome_hours SELECT 1, {hour}, s, {sums} FROM {series}"))
        for table in ("outcome_places", "outcome_riders"):
            keys = "generate_series(0, 49) k"
            connection.execute(
                text(f"INSERT INTO {table} SELECT 1, 'k-' || k, {hour}, s, {sums} FROM {series}, {keys}")
            )
        connection.execute(text("ANALYZE outcome_hours, outcome_places, outcome_riders"))
    try:
        for query in (
            queries.hours(START, START + 2 * HOUR, None, 11),
            queries.places(START, START + 2 * HOUR, None, "k-7", 11),
            queries.places(START, START + 2 * HOUR, "k-7", None, 11),
            queries.riders(START, START + 2 * HOUR, None, None, 11),
            queries.riders(START, START + 2 * HOUR, "k-7", None, 11),
        ):
            with engine.connect() as connection:
                connection.execute(BY_INDEX)
                sql = query.compile(engine, compile_kwargs={"literal_binds": True})
                plan = "\n".join(connection.execute(text(f"EXPLAIN {sql}")).scalars())
            assert "Seq Scan on outcome" not in plan, plan
        merged_rows = text(
            "SELECT * FROM outcome_riders_merged WHERE generation = 1 AND rider_id = 'k-7' ORDER BY hour"
        )
        with engine.connect() as connection:
            first = connection.execute(merged_rows).mappings().first()
        assert first is not None
        assert (first["hour"], first["completed"], first["beyond_p90"]) == (START, 16, 16)
    finally:
        with engine.begin() as connection:
            for table in ("outcome_hours", "outcome_places", "outcome_riders"):
                connection.execute(text(f"DELETE FROM {table}"))
