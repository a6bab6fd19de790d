"""Any role of the database, and another installation in it, can write into the WAL that the tailer reads."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack

import msgspec
import pytest
from sqlalchemy import Engine, text

from infrastructure.cdc.replication_slot import SlotUnusable, slot_state
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.settings.settings import Settings
from tests.support.postgres.log_events import events_of
from tests.support.relay.relay_life import Life, assert_whole, records_of, relay_of
from tests.support.relay.relay_load import with_topics
from tests.support.servers.installation_in_schema import installation
from tests.support.waiting import eventually


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    with with_topics(settings) as one:
        yield one


@pytest.fixture
def two(settings: Settings, empty_postgres_url: str) -> Iterator[list[tuple[Settings, Engine]]]:
    """Two installations in one database, each with a writer engine."""
    there = msgspec.structs.replace(settings, postgres_url=empty_postgres_url)
    with ExitStack() as stack:
        found = [installation(there, schema) for schema in ("a", "b")]
        yield [(one, stack.enter_context(with_topics(one))) for one in found]


def confirmed(settings: Settings, engine: Engine) -> int:
    with engine.connect() as connection:
        state = slot_state(connection, settings.slot_name)
    assert state is not None
    return state.confirmed


@pytest.mark.parametrize("forged", ["not json", '{"position": 1000000, "sender": "x", "sent_ns": 1}', "another log"])
def test_regression_a_role_that_may_only_connect_cannot_stop_the_tailer(
    settings: Settings, engine: Engine, forged: str, caplog: pytest.LogCaptureFixture
) -> None:
    if forged == "another log":
        forged = '{"log_id": "00000000-0000-0000-0000-000000000001", "position": 1000000, "sender": "x", "sent_ns": 1}'
    recorder = EventRecorder(engine)
    recorder.insert_events(events_of("anna", 1, 50))
    round_trips_s: list[float] = []
    life = Life(settings, engine, round_trips_s.append)
    role = settings.slot_name
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role}"))
        connection.execute(text(f"SET LOCAL ROLE {role}"))
        emit = text("SELECT pg_logical_emit_message(true, 'ridelog.heartbeat', :forged) FROM generate_series(1, 3)")
        connection.execute(emit, {"forged": forged})
    recorder.insert_events(events_of("anna", 51, 50))
    with caplog.at_level(logging.WARNING, "ridelog.tailer"):
        life.until_acknowledged(100)
        before, heartbeats = confirmed(settings, engine), len(round_trips_s)
        life.until(
            lambda: len(round_trips_s) > heartbeats and confirmed(settings, engine) > before, "the slot advances"
        )
    life.end()
    with engine.begin() as connection:
        connection.execute(text(f"DROP ROLE {role}"))
    assert assert_whole(settings, 100) == 0
    assert life.progress.repeated == 0
    assert len([one for one in caplog.messages if "they are skipped" in one]) == 1


def test_regression_two_installations_in_one_database_do_not_disturb_each_other(
    two: list[tuple[Settings, Engine]],
) -> None:
    """The heartbeats of the longer log ended the tailer of the shorter one after each restart."""
    (a, a_engine), (b, b_engine) = two
    heartbeats: dict[str, list[float]] = {"a": [], "b": []}
    lives = [Life(a, a_engine, heartbeats["a"].append), Life(b, b_engine, heartbeats["b"].append)]
    EventRecorder(a_engine).insert_events(events_of("anna", 1, 600))
    EventRecorder(b_engine).insert_events(events_of("berta", 1, 3))

    def both() -> bool:
        for life in lives:
            life.relay.step(0.01)
        published = [life.progress.position for life in lives] == [600, 3]
        return published and min(map(len, heartbeats.values())) >= 3

    eventually(both, within_s=120, every_s=0, what="both have published everything, and their heartbeats arrive")
    for life in lives:
        life.end()
    assert (assert_whole(a, 600), assert_whole(b, 3)) == (0, 0)
    assert {record.key for record in records_of(b)} == {b"berta"}
    assert [(life.progress.filled, life.progress.repeated) for life in lives] == [(0, 0), (0, 0)]


def test_regression_two_installations_with_one_slot_or_publication_get_an_error(
    two: list[tuple[Settings, Engine]],
) -> None:
    """The second waited forever for the slot of the first, or removed the table from its publication."""
    (a, a_engine), (b, b_engine) = two
    life = Life(a, a_engine)
    same_slot = msgspec.structs.replace(b, slot_name=a.slot_name)
    with pytest.raises(SlotUnusable, match="RIDELOG_SLOT_NAME"), relay_of(same_slot, b_engine):
        pass
    life.end()
    with pytest.raises(SlotUnusable, match="RIDELOG_SLOT_NAME"), relay_of(same_slot, b_engine):
        pass
    life = Life(a, a_engine)
    same_publication = msgspec.structs.replace(b, publication_name=a.publication_name)
    with pytest.raises(SlotUnusable, match="RIDELOG_PUBLICATION_NAME"), relay_of(same_publication, b_engine):
        pass
    EventRecorder(a_engine).insert_events(events_of("anna", 1, 10))
    life.until_acknowledged(10)
    life.end()
    assert life.progress.filled == 0


def test_regression_two_polling_relays_of_one_name_in_two_schemas_both_run(
    two: list[tuple[Settings, Engine]],
) -> None:
    """The lock covered the whole database, so the second relay waited forever."""
    polling = [(msgspec.structs.replace(one, relay="polling", slot_name="polled"), engine) for one, engine in two]
    with ExitStack() as stack:
        relays = [stack.enter_context(relay_of(one, engine)) for one, engine in polling]
        for number, (_, engine) in enumerate(two, start=1):
            EventRecorder(engine).insert_events(events_of("anna", 1, 10 * number))

        def both() -> bool:
            for relay in relays:
                relay.step(0.01)
            return [relay.transactions.progress.position for relay in relays] == [10, 20]

        eventually(both, within_s=60, every_s=0, what="both have published everything")


def test_regression_a_temporarily_changed_publication_loses_nothing(
    settings: Settings, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """The tailer ended, after each restart, at the messages that the publication had sent in that time."""
    recorder = EventRecorder(engine)
    recorder.insert_events(events_of("anna", 1, 10))
    life = Life(settings, engine)
    life.until_stored(10)
    life.end()
    name = settings.publication_name
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id int PRIMARY KEY)"))
        connection.execute(text(f"ALTER PUBLICATION {name} SET (publish = 'insert, update, delete, truncate')"))
        connection.execute(text(f"ALTER PUBLICATION {name} SET TABLE orders, events"))
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO orders VALUES (1), (2)"))
        connection.execute(text("UPDATE orders SET id = 3 WHERE id = 1"))
        connection.execute(text("DELETE FROM orders WHERE id = 2"))
        connection.execute(text("TRUNCATE orders"))
    recorder.insert_events(events_of("anna", 11, 10))
    life = Life(settings, engine)
    recorder.insert_events(events_of("anna", 21, 10))
    life.until_acknowledged(30)
    life.end()
    assert assert_whole(settings, 30) == 0
    assert life.progress.filled == 10
    assert "rows of the table public.orders" in caplog.text


def test_many_large_messages_of_other_programs_do_not_stop_the_events_behind_them(
    settings: Settings, engine: Engine
) -> None:
    life = Life(settings, engine)
    with engine.begin() as connection:
        emit = "SELECT pg_logical_emit_message(true, 'theirs', repeat('x', 5000000)) FROM generate_series(1, 20)"
        connection.execute(text(emit))
    EventRecorder(engine).insert_events(events_of("anna", 1, 10))
    life.until_acknowledged(10)
    life.end()
    assert assert_whole(settings, 10) == 0
