"""Relays and topics whose log is restored to an older state."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from sqlalchemy import Engine, text

from domain.identifiers import shard_of
from infrastructure.cdc.relay_checkpoint import ForeignLog
from infrastructure.cdc.replication_slot import SlotUnusable, create_slot
from infrastructure.cdc.topic_monitor import check_topic
from infrastructure.cdc.wal_relay import ensure_slot, highest_foreign_position
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.kafka.ports import LastRecord
from infrastructure.postgres import restore_findings as restores
from infrastructure.postgres.engine import reader_engine
from infrastructure.replay.all_keys import log_upto
from infrastructure.settings.settings import Settings
from tests.support.postgres.log_events import events_of
from tests.support.relay.relay_life import Life, records_of
from tests.support.relay.relay_load import with_topics


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    with with_topics(settings) as one:
        yield one


def set_back(engine: Engine, position: int) -> None:
    """As a restore of an older state does, for a log with events of anna only, and without ending any session."""
    seqs = f'{{"Rider": {[position if s == shard_of("anna") else 0 for s in range(64)]}}}'
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM events WHERE position > :p"), {"p": position})
        connection.execute(text("UPDATE relay_marks SET position = :p"), {"p": position})
        connection.execute(
            text("UPDATE log_numbers SET position = :p, seqs = CAST(:seqs AS jsonb)"), {"p": position, "seqs": seqs}
        )


@pytest.mark.parametrize("relay", ["wal", "polling"])
def test_invariant_14_a_log_restored_under_a_running_relay_is_published_from_its_end(
    settings: Settings, engine: Engine, relay: str
) -> None:
    one = msgspec.structs.replace(settings, relay=relay)
    EventRecorder(engine).insert_events(events_of("anna", 1, 50))
    life = Life(one, engine)
    life.until_acknowledged(50)
    set_back(engine, 20)

    life.until_raises(ForeignLog, "the relay sees that the log ends before what it has published")
    life.end()
    topic = f"{one.topic_prefix}gps-pings"
    check_topic(engine, one.kafka_bootstrap or "", topic, one.topic_partitions)
    EventRecorder(engine).insert_events(events_of("berta", 1, 60))
    life = Life(one, engine)
    life.until_acknowledged(80)
    life.end()
    berta = [record.position for record in records_of(one, at_least=110) if record.key == b"berta"]
    assert berta == list(range(21, 81))
    with engine.connect() as connection:
        [found] = restores.read_findings(connection)
    assert (found.found_by, found.beyond, found.head) == (f"topic {topic}", 50, 20)


def test_a_topic_that_matches_the_log_gives_no_finding(settings: Settings, engine: Engine) -> None:
    EventRecorder(engine).insert_events(events_of("anna", 1, 50))
    topic = f"{settings.topic_prefix}gps-pings"
    check_topic(engine, settings.kafka_bootstrap or "", topic, settings.topic_partitions)
    life = Life(settings, engine)
    life.until_acknowledged(50)
    life.end()
    check_topic(engine, settings.kafka_bootstrap or "", topic, settings.topic_partitions)
    with engine.connect() as connection:
        assert restores.read_findings(connection) == []


def test_a_record_matches_the_log_by_its_position_and_its_event() -> None:
    ids = {7: "a", 9: "b"}
    assert highest_foreign_position([LastRecord(7, "a"), LastRecord(9, "b"), LastRecord(3, "detached")], ids, 9) is None
    assert highest_foreign_position([LastRecord(7, "a"), LastRecord(9, "other")], ids, 99) == 9
    assert highest_foreign_position([LastRecord(10, "x"), LastRecord(12, "y")], ids, 9) == 12
    assert highest_foreign_position([], ids, 9) is None


def test_a_slot_of_another_database_on_the_server_is_reported(
    settings: Settings, engine: Engine, empty_postgres_url: str
) -> None:
    """As when a backup was restored into a new database next to the old one."""
    ensure_slot(engine, settings)
    other_database = reader_engine(empty_postgres_url)
    with pytest.raises(SlotUnusable, match="pg_drop_replication_slot"):
        create_slot(other_database, settings.slot_name)
    other_database.dispose()


def test_parts_of_a_replay_are_of_one_history(settings: Settings, engine: Engine) -> None:
    EventRecorder(engine).insert_events(events_of("anna", 1, 50))
    before = log_upto(settings, "speed", 30)
    assert before == log_upto(settings, "speed", 30)
    assert before["last_event"] != log_upto(settings, "speed", 99)["last_event"] == ""
    set_back(engine, 20)
    EventRecorder(engine).insert_events(events_of("berta", 1, 60))
    assert log_upto(settings, "speed", 30) != before
