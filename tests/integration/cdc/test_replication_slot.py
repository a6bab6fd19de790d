"""The publication and the slot of a tailer: created, inspected and repaired on a real server, without a broker."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import Connection, Engine, text

from infrastructure.cdc.replication_slot import (
    SlotState,
    SlotUnusable,
    create_slot,
    drop_slot,
    ensure_publication,
    events_schema,
    has_publication,
    slot_state,
)
from infrastructure.cdc.row_to_record import COLUMNS
from infrastructure.postgres.engine import writer_engine

_PUBLISHED = text(
    "SELECT p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot, t.schemaname, t.tablename, t.attnames,"
    " t.rowfilter FROM pg_publication p JOIN pg_publication_tables t USING (pubname) WHERE p.pubname = :name"
)


@pytest.fixture
def name() -> str:
    """A slot or publication that no other test uses: slots are unique on the whole server."""
    return f"test_{uuid.uuid4().hex[:8]}"


def state_of(engine: Engine, slot: str) -> SlotState | None:
    with engine.connect() as connection:
        return slot_state(connection, slot)


def lsn(connection: Connection, expression: str, slot: str) -> int:
    found = connection.execute(
        text(f"SELECT {expression} - '0/0'::pg_lsn FROM pg_replication_slots WHERE slot_name = :slot"), {"slot": slot}
    )
    return int(found.scalar_one())


# --- the slot


def test_a_slot_is_created_inspected_and_dropped(engine: Engine, name: str) -> None:
    assert state_of(engine, name) is None
    create_slot(engine, name)
    with engine.connect() as connection:
        confirmed = lsn(connection, "confirmed_flush_lsn", name)
        restart = lsn(connection, "restart_lsn", name)
    found = state_of(engine, name)
    assert found is not None
    assert (found.active, found.confirmed, found.wal_status) == (False, confirmed, "reserved")
    assert (found.invalidation_reason, found.is_lost) == (None, False)
    # The embedded server limits what a slot may retain.
    assert found.safe_wal_size is not None
    assert found.safe_wal_size > 1 << 30
    # Both grow with the WAL, by the same number of bytes.
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE noise AS SELECT generate_series(1, 1000)"))
    with engine.connect() as connection:
        before = lsn(connection, "pg_current_wal_lsn()", name)
        grown = slot_state(connection, name)
        after = lsn(connection, "pg_current_wal_lsn()", name)
    assert grown is not None
    assert before - confirmed <= grown.behind_bytes <= after - confirmed
    assert before - restart <= grown.retained_bytes <= after - restart
    assert grown.retained_bytes > grown.behind_bytes > 10_000
    drop_slot(engine, name)
    assert state_of(engine, name) is None


def shown(engine: Engine, slot: str, columns: str) -> SlotState | None:
    """The state of a slot that the server shows with these columns."""
    with engine.connect() as connection:
        connection.execute(
            text(
                f"CREATE TEMP VIEW pg_replication_slots AS SELECT CAST('{slot}' AS name) AS slot_name,"
                f" current_database() AS database, {columns}"
            )
        )
        connection.execute(text("SET LOCAL search_path = pg_temp, pg_catalog"))
        return slot_state(connection, slot)


def test_a_slot_that_has_no_lsn_yet_has_confirmed_nothing(engine: Engine, name: str) -> None:
    """While a slot waits for open transactions to end at its creation, the server shows it without LSNs."""
    found = shown(
        engine,
        name,
        "true AS active, NULL::text AS wal_status, NULL::bigint AS safe_wal_size, NULL::pg_lsn AS confirmed_flush_lsn,"
        " NULL::pg_lsn AS restart_lsn",
    )
    assert found == SlotState(True, 0, "unknown", None, 0, 0, None)


def test_a_lost_slot_has_the_reason_that_the_server_reports(engine: Engine, name: str) -> None:
    found = shown(
        engine,
        name,
        "false AS active, 'lost' AS wal_status, NULL::bigint AS safe_wal_size, '0/64'::pg_lsn AS confirmed_flush_lsn,"
        " NULL::pg_lsn AS restart_lsn, 'wal_removed' AS invalidation_reason",
    )
    assert found is not None
    assert (found.is_lost, found.invalidation_reason, found.confirmed) == (True, "wal_removed", 100)


def test_a_slot_of_another_database_is_not_ours(engine: Engine, name: str, empty_postgres_url: str) -> None:
    other = writer_engine(empty_postgres_url)
    create_slot(other, name)
    assert state_of(engine, name) is None
    with pytest.raises(SlotUnusable, match=f"another database of this server has a replication slot {name}: "):
        create_slot(engine, name)
    other.dispose()


def test_a_connection_that_created_a_slot_does_not_keep_its_time_out(engine: Engine, name: str) -> None:
    with engine.connect() as connection:
        usual = connection.execute(text("SHOW statement_timeout")).scalar_one()
    create_slot(engine, name)
    with engine.connect() as connection:
        assert connection.execute(text("SHOW statement_timeout")).scalar_one() == usual != "30s"


# --- the publication


def published(engine: Engine, name: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(_PUBLISHED, {"name": name})]


def versions(engine: Engine, name: str) -> list[tuple[object, ...]]:
    """The transactions that last wrote the publication and its table: an unchanged one keeps them."""
    query = text(
        "SELECT p.xmin::text, r.xmin::text FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid"
        " WHERE p.pubname = :name"
    )
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query, {"name": name})]


@pytest.fixture
def intact(engine: Engine) -> list[tuple[object, ...]]:
    """Inserts only, under the name of the parent table, of exactly the columns that become records."""
    with engine.connect() as connection:
        schema = events_schema(connection)
        query = text("SELECT attname::text FROM pg_attribute WHERE attrelid = 'events'::regclass ORDER BY attnum")
        columns = [column for column in connection.execute(query).scalars() if column in COLUMNS]
    assert len(columns) == len(COLUMNS)
    return [(True, False, False, False, True, schema, "events", columns, None)]


def test_a_publication_is_created_once(engine: Engine, name: str, intact: list[tuple[object, ...]]) -> None:
    with engine.connect() as connection:
        assert not has_publication(connection, name)
    ensure_publication(engine, name)
    with engine.connect() as connection:
        assert has_publication(connection, name)
    assert published(engine, name) == intact
    before = versions(engine, name)
    ensure_publication(engine, name)
    assert versions(engine, name) == before


@pytest.mark.parametrize(
    "change",
    [
        "SET (publish = 'insert, update')",
        "SET (publish = 'insert, delete')",
        "SET (publish = 'insert, truncate')",
        "SET (publish = 'update')",
        # With a column list, the server does not take that alone.
        "SET TABLE events; ALTER PUBLICATION {name} SET (publish_via_partition_root = false)",
        "SET TABLE events",
        "SET TABLE events (position, payload)",
        "SET TABLE events WHERE (position > 5)",
        "DROP TABLE events",
    ],
)
def test_a_publication_that_was_changed_is_repaired(
    engine: Engine, name: str, change: str, intact: list[tuple[object, ...]]
) -> None:
    ensure_publication(engine, name)
    with engine.begin() as connection:
        connection.execute(text(f"ALTER PUBLICATION {name} {change.format(name=name)}"))
    assert published(engine, name) != intact
    ensure_publication(engine, name)
    assert published(engine, name) == intact


def test_a_publication_of_other_tables_is_not_changed(engine: Engine, name: str) -> None:
    """It belongs to another program or installation, whose topic would get no further events."""
    with engine.begin() as connection:
        for schema in ("a", "b"):
            connection.execute(text(f"CREATE SCHEMA {schema}"))
            connection.execute(text(f"CREATE TABLE {schema}.events (id int)"))
        connection.execute(text(f"CREATE PUBLICATION {name} FOR TABLE b.events, a.events"))
        connection.execute(text(f"CREATE PUBLICATION {name}_all FOR ALL TABLES"))
        connection.execute(text(f"CREATE PUBLICATION {name}_schema FOR TABLES IN SCHEMA a"))
    for suffix, of in (
        ("", "the events of schema a, b"),
        ("_all", "all tables"),
        ("_schema", "the events of schema a"),
    ):
        before = published(engine, name + suffix)
        with pytest.raises(SlotUnusable, match=f"publication {name}{suffix} is of {of}, not of schema public: set "):
            ensure_publication(engine, name + suffix)
        assert published(engine, name + suffix) == before
