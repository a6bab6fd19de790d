"""An existing log, its fences and its marks keep their numbers through the migration 0009, and back."""

from __future__ import annotations

import json

from sqlalchemy import Engine, text

from infrastructure.cdc.relay_checkpoint import RelayCheckpointStore
from infrastructure.event_store.log_head import read_head
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres import migrations
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.postgres.projection_sink import PostgresSink
from projections.core.ports import ApplyOutcome, Fence, ShardWrite
from projections.speed import SPEED
from tests.support.postgres.log_events import events_of

LOG_ID = "8b5f5e0c-9f6f-4c57-8a3e-0d4d3b1f7a01"


def one(engine: Engine, statement: str) -> tuple[object, ...]:
    with engine.connect() as connection:
        return tuple(connection.execute(text(statement)).one())


def test_a_log_of_the_version_before_keeps_its_numbers(empty_postgres_url: str) -> None:
    migrations.upgrade(empty_postgres_url, "0008")
    seqs = {"Rider": [number * 7 for number in range(64)], "Delivery": [3] * 64}
    engine = writer_engine(empty_postgres_url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE log_head SET log_id = :log_id, position = 14112, recorded_at = '2026-03-01 12:00:00.123Z',"
                " seqs = CAST(:seqs AS jsonb)"
            ),
            {"log_id": LOG_ID, "seqs": json.dumps(seqs)},
        )
        connection.execute(
            text("INSERT INTO relay_marks VALUES ('ridelog', :log_id, 14000, 77, '{\"gps-pings\": \"t1\"}')"),
            {"log_id": LOG_ID},
        )
        connection.execute(
            text("INSERT INTO projection_fences VALUES ('speed', 2, 5, :log_id, 'one', 35, 14100, 'digest')"),
            {"log_id": LOG_ID},
        )
    migrations.upgrade(empty_postgres_url)
    migrations.check(empty_postgres_url)
    with engine.connect() as connection:
        head = read_head(connection)
    assert (str(head.log_id), head.position, head.recorded_at_ms, head.seqs) == (LOG_ID, 14112, 1_772_366_400_123, seqs)
    mark = RelayCheckpointStore(engine, "ridelog").read()
    assert mark is not None
    assert (str(mark.log_id), mark.position, mark.confirmed_lsn, mark.topics) == (
        LOG_ID,
        14000,
        77,
        {"gps-pings": "t1"},
    )
    fence = Fence(LOG_ID, "one", 35, 14100, "digest")
    sink = PostgresSink(engine, SPEED, 2)
    assert sink.fences([5]) == [fence]

    # It goes on where it was, and back again without a loss.
    assert EventRecorder(engine).insert_events(events_of("anna", 1, 1)) == [14113]
    RelayCheckpointStore(engine, "ridelog").advance(mark.log_id, 14110, 99)
    moved = fence._replace(seq=36, position=14111)
    assert sink.apply([ShardWrite(5, fence, moved, {})]) == [ApplyOutcome.APPLIED]
    engine.dispose()
    migrations.downgrade(empty_postgres_url, "0008")
    old = reader_engine(empty_postgres_url)
    assert one(old, "SELECT log_id::text, position FROM log_head") == (LOG_ID, 14113)
    assert one(old, "SELECT position, confirmed_lsn FROM relay_marks") == (14110, 99)
    assert one(old, "SELECT shard, seq, position FROM projection_fences") == (5, 36, 14111)
    old.dispose()
