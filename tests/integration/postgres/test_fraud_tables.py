"""The tables of the fraud desk: one row an alert, as its last event left it, and one a review, however events come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from domain.features.case_file import case_bytes, case_of
from domain.identifiers import SHARDS
from infrastructure.embedded.postgres import Postgres
from infrastructure.postgres.engine import sink_engine
from infrastructure.postgres.projection_sink import PostgresSink
from projections.live.stream_follower import StreamFollower
from projections.rebuild.catch_up import CatchUp
from projections.rebuild.comparison import digest
from projections.spoofing import SPOOFING
from read_models.fraud.tables import fraud_alerts, fraud_reviews
from tests.support.ports_in_memory.projection_ports import MemoryLog, ScriptedTopic
from tests.support.servers.servers import fresh_database
from tests.support.worlds.phone import Event, alerts_of, leg_ended, leg_started, reviewed, ride

FORGED: list[Event] = [
    *ride(0, 60),
    leg_started(55, 300, 5_000),
    *ride(60, 300, north_m=300, east_m=5_000),
    leg_ended(300),
    *ride(300, 400, north_m=1_500),
]


@pytest.fixture(scope="module")
def engine(migrated_postgres: Postgres) -> Iterator[Engine]:
    with fresh_database(migrated_postgres) as url:
        engine = sink_engine(url)
        yield engine
        engine.dispose()


def a_log(history: list[Event]) -> MemoryLog:
    log = MemoryLog("Rider")
    for key, event_type, data in history:
        log.append(key, event_type, data)
    return log


def rows(engine: Engine, table: Any, generation: int) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        found = connection.execute(select(table).where(table.c.generation == generation))
        return [dict(row) for row in found.mappings()]


def test_the_row_of_an_alert_has_the_bytes_of_its_file(engine: Engine) -> None:
    (alert_id, last), *_ = alerts_of(FORGED).items()
    review = reviewed(401, alert_id, "confirmed")
    CatchUp(SPOOFING, a_log([*FORGED, review]), PostgresSink(engine, SPOOFING, 1), json.loads, range(SHARDS)).run()
    (alert,) = rows(engine, fraud_alerts, 1)
    file = case_of(bytes(alert["file"]))
    assert bytes(alert["file"]) == case_bytes(file)
    assert (alert["alert_id"], file.signals, alert["score"]) == (alert_id, last.signals, last.score)
    assert (alert["order_id"], alert["leg"], alert["rider_id"]) == ("order-1", "to_customer", "anna")
    (row,) = rows(engine, fraud_reviews, 1)
    assert (row["alert_id"], row["verdict"], row["reviewer"]) == (alert_id, "confirmed", "mara")


generations = iter(range(10, 10_000))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_rows_are_those_of_a_rebuild_whatever_kafka_does(engine: Engine, data: st.DataObject) -> None:
    """Duplicates, any batches, and records in any order: gaps are filled from the log."""
    (alert_id,) = alerts_of(FORGED)
    cuts = st.lists(st.integers(0, len(FORGED)), min_size=1, max_size=4)
    history = list(FORGED)
    for number, cut in enumerate(sorted(data.draw(cuts), reverse=True)):
        history.insert(cut, reviewed(500 + number, alert_id))
    log, topic = a_log(history), ScriptedTopic()
    live, rebuilt = (PostgresSink(engine, SPOOFING, next(generations)) for _ in range(2))
    worker: StreamFollower[Any] = StreamFollower(
        SPOOFING, log_port=log, consumer=topic, sink=live, decode=json.loads, partitions=8
    )
    worker.step(0)
    for _ in range(data.draw(st.integers(1, 4))):
        topic.deliver(data.draw(st.lists(st.sampled_from(log.events), max_size=80)))
    while topic.batches:
        worker.step(0)
    worker.idle_check()
    worker.idle_check()
    CatchUp(SPOOFING, log, rebuilt, json.loads, range(SHARDS)).run()
    assert [digest(live.dump(shard)) for shard in range(SHARDS)] == [
        digest(rebuilt.dump(shard)) for shard in range(SHARDS)
    ]
    assert len(rows(engine, fraud_alerts, live._generation)) == 1
