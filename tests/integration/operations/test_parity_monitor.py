"""The parity monitor on a real database: it audits a long key without folding twice, and survives a server failure."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from domain.events.contracts import Codec
from domain.gps_ping import parse_ping, record_of
from domain.identifiers import aggregate_id
from infrastructure.embedded.postgres import Postgres
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.operations.parity_monitor import MAX_KEY_EVENTS, ParityMonitor
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.postgres.served_reads import PostgresServedReads, add
from infrastructure.schema_registry.client import schema_ids
from infrastructure.settings.settings import Settings
from projections.core.fold import Fold
from projections.core.ports import PortUnavailable
from projections.digest.digest import view_digest
from projections.parity.served_reads import ReadVerdict, ServedRead
from projections.speed import SPEED
from read_models.speed.view import VIEW
from read_models.view import ViewLimits, body_of
from tests.support.waiting import eventually

START_MS = 1_790_000_000_000
PINGS = 2 * MAX_KEY_EVENTS + 700


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    assert settings.postgres_url is not None
    engine = reader_engine(settings.postgres_url)
    PostgresGenerations(engine).first(SPEED)
    yield engine
    engine.dispose()


def ride(settings: Settings, engine: Engine, rider: str, pings: int) -> None:
    """Record a rider's pings in the log, and the answer after the last of them."""
    codec = Codec(schema_ids(settings, engine))
    events = []
    for version in range(1, pings + 1):
        at_ms = START_MS + version * 1_000
        item = {"rider_id": rider, "latitude": 52.5 + version / 1e5, "longitude": 13.4, "event_timestamp_ms": at_ms}
        ping = parse_ping(item, at_ms)
        payload, number = codec.encode("GpsPing", record_of(ping)), UUID(ping.event_id)
        of = aggregate_id("Rider", rider)
        events.append(LogEvent(of, version, "GpsPing", payload, "Rider", rider, number, at_ms))
    writer = writer_engine(settings.postgres_url or "")
    EventRecorder(writer).insert_events(events)
    writer.dispose()
    logged = PostgresArchive(engine).key_range("Rider", rider, 0, pings, None)
    state = Fold(SPEED, codec.decode, lambda: 0).run(logged, lambda _: None, (), ()).states[rider]
    row = VIEW.row(rider, VIEW.features(state), START_MS, ViewLimits(), True)
    body = body_of(row | {"generation": 1})
    read = ServedRead(rider, 1, pings, logged[-1].position, START_MS, ViewLimits(), True, body)
    assert add(engine, "speed", view_digest(SPEED), [read]) == 1


def test_a_long_key_is_audited_in_rounds_and_each_event_is_folded_once(settings: Settings, engine: Engine) -> None:
    ride(settings, engine, "anna", PINGS)
    ride(settings, engine, "zoe", 3)
    auditor = ParityMonitor(settings, SPEED)
    rounds = [auditor.run_round() for _ in range(4)]
    assert [found.totals[ReadVerdict.EQUAL] for found in rounds] == [1, 0, 1, 0]
    assert [found.events for found in rounds] == [MAX_KEY_EVENTS + 3, MAX_KEY_EVENTS, 700, 0]
    assert PostgresServedReads(engine, "speed").tally()[:3] == (2, 0, 0)
    auditor.stop()


def test_the_audit_resumes_after_the_database_was_unavailable(
    settings: Settings, engine: Engine, migrated_postgres: Postgres
) -> None:
    auditor = ParityMonitor(settings, SPEED, interval_s=0.05)
    auditor.run_round()
    migrated_postgres.stop()
    with pytest.raises(PortUnavailable):
        auditor.run_round()
    auditor.start()
    migrated_postgres.start()
    ride(settings, engine, "anna", 3)
    reads = PostgresServedReads(engine, "speed")
    eventually(lambda: reads.tally().checked == 1, within_s=30, what="the auditor goes on")
    auditor.stop()


def test_a_damaged_answer_stays_on_record_until_another_generation_is_served(
    settings: Settings, engine: Engine
) -> None:
    ride(settings, engine, "anna", 10)
    with engine.begin() as connection:
        connection.execute(text("UPDATE served_reads SET body = set_bit(body, 200, 1 - get_bit(body, 200))"))
    auditor = ParityMonitor(settings, SPEED)
    found = auditor.run_round()
    auditor.stop()
    assert (found.totals[ReadVerdict.DIFFERENT], found.generations) == (1, {1})
    assert PostgresServedReads(engine, "speed").mismatches() == (1, 1)
    generations = PostgresGenerations(engine)
    with generations.switching(generations.all("speed")[0], generations.begin(SPEED)):
        pass
    assert PostgresServedReads(engine, "speed").mismatches() == (2, 0)
