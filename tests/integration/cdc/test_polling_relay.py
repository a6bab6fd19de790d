"""The polling relay publishes the same records as the tailer, also on databases without logical replication."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, event

from infrastructure.cdc.polling_relay import RelayInUse
from infrastructure.cdc.replication_slot import SlotUnusable
from infrastructure.cdc.wal_relay import ensure_slot
from infrastructure.embedded.postgres import Postgres
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.settings.settings import Settings
from infrastructure.status.lines import slot_line
from tests.support.postgres.log_events import events_of
from tests.support.relay.relay_life import Life, Published, assert_whole, records_of, relay_of
from tests.support.relay.relay_load import with_topics
from tests.support.servers.servers import UNDURABLE, fresh_database, make_template, running


@pytest.fixture
def polling(settings: Settings) -> Settings:
    """``settings`` with the polling relay, which publishes to separate topics."""
    return msgspec.structs.replace(
        settings, relay="polling", topic_prefix=f"{settings.topic_prefix}polled.", slot_name=f"{settings.slot_name}_p"
    )


@pytest.fixture
def engine(settings: Settings, polling: Settings) -> Iterator[Engine]:
    with with_topics(settings) as one, with_topics(polling):
        yield one


@pytest.fixture
def replica_level(polling: Settings, servers_dir: Path) -> Iterator[Settings]:
    """``polling`` with a database on a server that has no logical replication."""
    server = Postgres(servers_dir / "replica", {**UNDURABLE, "wal_level": "replica"})
    with running(server):
        make_template(server)
        with fresh_database(server) as url:
            yield msgspec.structs.replace(polling, postgres_url=url)


def by_partition(records: list[Published]) -> dict[int, list[Published]]:
    return {p: list(of) for p, of in groupby(sorted(records, key=lambda r: r.partition), lambda r: r.partition)}


def test_the_same_records_headers_partitions_and_order_as_the_tailer(
    settings: Settings, polling: Settings, engine: Engine
) -> None:
    ensure_slot(engine, settings)
    recorder = EventRecorder(engine, partition_rows=500)
    for number, key in enumerate(["anna", "bärta", "c" * 128, "ду", "'\\\" %s"] * 40):
        first = 1 + number // 5 * 10
        recorder.insert_events(events_of(key, first, 10, bytes(range(number, 256)) + bytes([0, 255, number])))
    placed = replace(events_of("order", 1, 1)[0], aggregate_type="Delivery", topic="Placed")
    recorder.insert_events([placed, replace(events_of("odd", 1, 1)[0], aggregate_type="Unclassified")])
    for one in (settings, polling):
        life = Life(one, engine)
        life.until_acknowledged(2_002)
        life.end()
        assert (life.progress.skipped, life.progress.filled) == (1, 0)
    for stream, count in (("Rider", 2_000), ("Delivery", 1)):
        polled = by_partition(records_of(polling, stream, count))
        assert polled == by_partition(records_of(settings, stream, count))
        assert sum(map(len, polled.values())) == count


def test_it_resumes_after_its_checkpoint_and_the_tailer_after_it(polling: Settings, engine: Engine) -> None:
    """The two relays share the checkpoint of their name, so one can replace the other."""
    recorder = EventRecorder(engine)
    for part, relay in enumerate(["polling", "wal", "polling"]):
        recorder.insert_events(events_of("anna", 1 + part * 100, 100))
        life = Life(msgspec.structs.replace(polling, relay=relay), engine)
        life.until_stored((part + 1) * 100)
        life.end()
    assert assert_whole(polling, 300) == 0


def test_a_second_polling_relay_of_the_same_name_is_rejected(polling: Settings, engine: Engine) -> None:
    life = Life(polling, engine)
    with pytest.raises(RelayInUse), relay_of(polling, engine):
        pass
    life.end()
    Life(polling, engine).end()


def test_it_needs_no_logical_replication(replica_level: Settings) -> None:
    with with_topics(replica_level) as engine:
        with pytest.raises(SlotUnusable, match="RIDELOG_RELAY=polling"):
            Life(msgspec.structs.replace(replica_level, relay="wal"), engine)
        EventRecorder(engine).insert_events(events_of("anna", 1, 500))
        statements: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda c, cursor, sql, *_: statements.append(sql))
        life = Life(replica_level, engine)
        life.until_acknowledged(500)
        life.end()
    assert assert_whole(replica_level, 500) == 0
    assert not any("replication" in sql or "emit_message" in sql for sql in statements)
    assert slot_line(replica_level.slot_name, None, "polling", 500).good
