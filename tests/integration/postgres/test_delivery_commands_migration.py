"""Migration 0010: events name their command and their cause, in columns that are null for pings."""

from __future__ import annotations

from sqlalchemy import text

from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres import migrations
from infrastructure.postgres.engine import writer_engine
from tests.support.postgres.delivery_events import log_events, whole_life
from tests.support.postgres.log_events import events_of

_CAUSES = text("SELECT event_type, command_id, caused_by FROM events ORDER BY position")


def test_events_name_their_command_and_their_cause_and_pings_name_none(postgres_url: str) -> None:
    engine = writer_engine(postgres_url)
    events = log_events(whole_life("order-1", "anna"))
    # Partitions that the migration did not see, so that they have the columns and indexes too.
    recorder = EventRecorder(engine, partition_rows=4)
    recorder.insert_events([*events, *events_of("ben", 1, 3)])
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(_CAUSES)]
        plan = "\n".join(
            row[0]
            for statement in ("command_id = 'key of order-1'", "caused_by = 'b4cbcb0b-29b7-5af7-9dd5-4cd6a4f5d9b5'")
            for row in connection.execute(text(f"EXPLAIN SELECT * FROM events WHERE {statement}"))
        )
    assert rows[:-3] == [(event.topic, event.command_id, event.caused_by) for event in events]
    assert rows[-3:] == [("GpsPing", None, None)] * 3
    placed, assigned, registered, started = events[:4]
    assert (placed.command_id, placed.caused_by) == ("key of order-1", None)
    assert registered.command_id == started.command_id == assigned.command_id
    assert registered.caused_by == started.caused_by == assigned.event_id
    assert "command_id_idx" in plan
    assert "caused_by_idx" in plan
    engine.dispose()


def test_a_log_of_the_version_before_gets_the_columns_and_loses_them_again(empty_postgres_url: str) -> None:
    migrations.upgrade(empty_postgres_url, "0009")
    engine = writer_engine(empty_postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE events_p00000000000000000001 (LIKE events)"))
        connection.execute(
            text("ALTER TABLE events ATTACH PARTITION events_p00000000000000000001 FOR VALUES FROM (1) TO (1000)")
        )
    migrations.upgrade(empty_postgres_url)
    migrations.check(empty_postgres_url)
    events = log_events(whole_life("order-1", "anna"))
    EventRecorder(engine).insert_events(events)
    with engine.connect() as connection:
        assert len(connection.execute(_CAUSES).all()) == len(events)
    engine.dispose()
    migrations.downgrade(empty_postgres_url, "0009")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM events")).scalar_one() == len(events)
    engine.dispose()
    migrations.upgrade(empty_postgres_url)
    migrations.check(empty_postgres_url)
