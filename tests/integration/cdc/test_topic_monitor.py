"""The topics of the relay: created where they are missing, and compared with the ids that were published to."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from infrastructure.cdc import topic_monitor
from infrastructure.cdc.relay_checkpoint import RelayCheckpoint, RelayCheckpointStore
from infrastructure.cdc.topic_monitor import TopicMonitor
from infrastructure.cdc.wal_relay import known_ids
from infrastructure.event_store.log_head import read_head
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.kafka.admin import admin, partition_counts, topic_ids
from infrastructure.kafka.topics import topics
from infrastructure.postgres.engine import writer_engine
from infrastructure.settings.settings import Settings
from tests.support.postgres.log_events import events_of
from tests.support.waiting import eventually


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """A log whose relay has a checkpoint at position 7."""
    assert settings.postgres_url is not None
    engine = writer_engine(settings.postgres_url)
    EventRecorder(engine).insert_events(events_of("anna", 1, 7))
    with engine.connect() as connection:
        log_id = read_head(connection).log_id
    RelayCheckpointStore(engine, settings.slot_name).advance(log_id, 7, 70)
    yield engine
    engine.dispose()


def partitions(settings: Settings) -> dict[str, int]:
    with admin(settings.kafka_bootstrap or "") as client:
        return partition_counts(client, list(topics(settings).values()))


def ids(settings: Settings) -> dict[str, str]:
    """The ids of the topics of all streams, as the broker has them."""
    return known_ids(topic_ids(settings.kafka_bootstrap or "", list(topics(settings).values())))


def checkpoint_of(settings: Settings, engine: Engine) -> RelayCheckpoint:
    found = RelayCheckpointStore(engine, settings.slot_name).read()
    assert found is not None
    return found


def test_missing_topics_are_created_and_their_ids_are_saved_with_the_checkpoint(
    settings: Settings, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    assert partitions(settings) == {}
    TopicMonitor(settings, engine).check()
    assert partitions(settings) == dict.fromkeys(topics(settings).values(), settings.topic_partitions)
    found = checkpoint_of(settings, engine)
    assert (found.position, found.confirmed_lsn) == (7, 70)
    assert found.topics == ids(settings) != {}
    assert [one for one in caplog.messages if "recreated" in one] == []


def test_topics_that_are_not_those_published_to_before_are_reported_once(
    settings: Settings, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    TopicMonitor(settings, engine).check()
    (name, *_) = sorted(topics(settings).values())
    RelayCheckpointStore(engine, settings.slot_name).save_topic_ids(ids(settings) | {name: "deleted since"})
    monitor = TopicMonitor(settings, engine)
    with caplog.at_level(logging.WARNING, "ridelog.tailer"):
        monitor.check()
        monitor.check()
    assert [one.partition(":")[0] for one in caplog.messages if "recreated" in one] == [f"topics {name} were recreated"]
    assert "continue after position 7" in caplog.text
    assert checkpoint_of(settings, engine).topics == ids(settings)


def test_ids_that_were_saved_are_not_saved_again(settings: Settings, engine: Engine) -> None:
    monitor = TopicMonitor(settings, engine)
    monitor.check()
    newest = text("SELECT max(number) FROM relay_marks")
    with engine.connect() as connection:
        before = connection.execute(newest).scalar_one()
    monitor.check()
    with engine.connect() as connection:
        assert connection.execute(newest).scalar_one() == before


def test_a_watch_continues_after_checks_that_fail(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(topic_monitor, "TOPIC_CHECK_INTERVAL_S", 0.01)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE relay_marks RENAME TO unavailable"))
    with caplog.at_level(logging.WARNING, "ridelog.tailer"), TopicMonitor(settings, engine).watching():
        eventually(lambda: "the topics cannot be checked: " in caplog.text, what="the failure is logged")
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE unavailable RENAME TO relay_marks"))
        eventually(lambda: checkpoint_of(settings, engine).topics != {}, what="the ids are saved")
    failures = [one for one in caplog.messages if "the topics cannot be checked" in one]
    assert len(failures) == 1
    assert failures[0].startswith("the topics cannot be checked: ")
