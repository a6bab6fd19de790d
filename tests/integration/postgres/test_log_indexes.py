"""Indexes that a migration adds to the log are built while events are recorded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Engine, event, text

from infrastructure.errors import UserError
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres import migrations
from infrastructure.postgres.engine import writer_engine
from infrastructure.postgres.log_indexes import build_missing, missing_indexes
from tests.support.postgres.log_events import events_of
from tests.support.waiting import eventually

PARTITION_ROWS = 4
BEFORE_THE_INDEXES = "0009"
_BUILDING = text(
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    " AND query LIKE 'CREATE INDEX CONCURRENTLY%')"
)
_VALID = text("SELECT bool_and(i.indisvalid) FROM pg_index i WHERE i.indrelid = 'events'::regclass")


@pytest.fixture
def old_engine(empty_postgres_url: str) -> Iterator[Engine]:
    """A log with rows in several partitions, as it was before its indexes of commands and causes."""
    migrations.upgrade(empty_postgres_url)
    engine = writer_engine(empty_postgres_url)
    EventRecorder(engine, partition_rows=PARTITION_ROWS).insert_events(events_of("anna", 1, 2 * PARTITION_ROWS))
    migrations.downgrade(empty_postgres_url, BEFORE_THE_INDEXES)
    yield engine
    engine.dispose()


@contextmanager
def held_snapshot(engine: Engine) -> Iterator[None]:
    """A transaction that has read: a concurrent build of an index waits for its end."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as reader:
        reader.execute(text("SELECT pg_current_snapshot()"))
        yield
        reader.rollback()


def is_building(engine: Engine) -> bool:
    with engine.connect() as connection:
        return bool(connection.execute(_BUILDING).scalar_one())


def assert_built(engine: Engine, url: str) -> None:
    with engine.connect() as connection:
        assert missing_indexes(connection) == []
        assert connection.execute(_VALID).scalar_one()
    migrations.check(url)


def test_regression_a_ping_is_recorded_while_a_migration_builds_indexes_of_the_log(
    old_engine: Engine, empty_postgres_url: str
) -> None:
    """The indexes were built under the log's lock: on a log of some hundred million events for minutes."""
    migration = threading.Thread(target=migrations.upgrade, args=(empty_postgres_url,), name="migration")
    with held_snapshot(old_engine):
        migration.start()
        eventually(lambda: is_building(old_engine), what="the migration builds an index")
        recorder = EventRecorder(old_engine, partition_rows=PARTITION_ROWS)
        # So many that a partition is added too.
        recorded = recorder.insert_events(events_of("ben", 1, 2 * PARTITION_ROWS))
        assert is_building(old_engine)
    migration.join()
    assert recorded == list(range(2 * PARTITION_ROWS + 1, 4 * PARTITION_ROWS + 1))
    assert_built(old_engine, empty_postgres_url)


def test_no_migration_builds_an_index_of_a_log_with_rows_in_its_transaction(empty_postgres_url: str) -> None:
    """Of each migration after the first, which creates the table: what is recorded waits for the whole upgrade."""
    built: list[str] = []

    def note(_connection: Connection, _cursor: object, statement: str, *_arguments: object) -> None:
        words = statement.split()
        if "INDEX" in words[:3] and words[0] == "CREATE" and " ON events " in statement:
            built.append(statement)

    migrations.upgrade(empty_postgres_url, "0001")
    event.listen(Engine, "before_cursor_execute", note)
    try:
        migrations.upgrade(empty_postgres_url)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert built == []


def test_a_build_that_was_aborted_is_done_by_the_next_migrate(old_engine: Engine, empty_postgres_url: str) -> None:
    limited = f"{empty_postgres_url}{'&' if '?' in empty_postgres_url else '?'}options=-clock_timeout%3D300"
    said = r"database is migrated, but not all.*migrate` again"
    with held_snapshot(old_engine), pytest.raises(UserError, match=said):
        migrations.upgrade(limited)
    assert migrations.revision(empty_postgres_url).is_current
    with old_engine.connect() as connection:
        left = missing_indexes(connection)
    assert [one.is_valid for one in left if one.is_valid is not None] == [False], "what the aborted build left"
    recorder = EventRecorder(old_engine, partition_rows=PARTITION_ROWS)
    assert recorder.insert_events(events_of("ben", 1, 1)) == [2 * PARTITION_ROWS + 1]

    done: list[tuple[int, int]] = []
    migrations.upgrade(empty_postgres_url, on_built=lambda built, of: done.append((built, of)))
    assert done == [(number, len(left)) for number in range(1, len(left) + 1)]
    assert_built(old_engine, empty_postgres_url)


def test_two_processes_build_an_index_once(old_engine: Engine, empty_postgres_url: str) -> None:
    migration = threading.Thread(target=migrations.upgrade, args=(empty_postgres_url,), name="migration")
    with held_snapshot(old_engine):
        migration.start()
        eventually(lambda: is_building(old_engine), what="the migration builds an index")
        done: list[int] = []
        build_missing(old_engine, 1.0, lambda built, of: done.append(built))
        assert done == []
    migration.join()
    assert_built(old_engine, empty_postgres_url)
