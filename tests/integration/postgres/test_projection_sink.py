"""What is special to the Postgres sink: rows, merged in the transaction that moves the fence."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, select, text

from infrastructure.event_store.log_reader import PostgresLog
from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.projection_sink import PostgresSink
from projections.core.ports import (
    ApplyOutcome,
    LoggedEvent,
    ShardWrite,
    SinkRejected,
)
from projections.live.stream_follower import StreamFollower
from read_models.rows import RowChange
from tests.support.ports_in_memory.projection_ports import MemoryLog, ScriptedTopic
from tests.support.postgres.counted_rows import APPLIED, START, at, row, stored
from tests.support.worlds.counting_projection import COUNTED, counted, metadata

FENCE_CONFLICT = ApplyOutcome.FENCE_CONFLICT


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = reader_engine(postgres_url)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_rows_are_added_and_the_latest_value_stands(engine: Engine) -> None:
    sink = PostgresSink(engine, COUNTED, 1)
    sink.apply([ShardWrite(3, None, at(2), {}, [row("a", 1, 5, 1, 70), row("a", 2, 1, 0)])])
    sink.apply([ShardWrite(3, at(2), at(4), {}, [row("a", 1, -2, 0, 60), row("b\t\\", 1, 1, 0)])])
    sink.apply([ShardWrite(3, at(4), at(5), {}, [row("a", 1, 0, 0)])])
    assert stored(engine) == [(1, 3, "a", 1, 3, 1, 60), (1, 3, "a", 2, 1, 0, None), (1, 3, "b\t\\", 1, 1, 0, None)]


def test_a_lost_compare_and_set_adds_nothing(engine: Engine) -> None:
    sink = PostgresSink(engine, COUNTED, 1)
    sink.apply([ShardWrite(3, None, at(2), {}, [row("a", 1, 5)])])
    assert sink.apply([ShardWrite(3, at(1), at(4), {}, [row("a", 1, 5)])]) == [FENCE_CONFLICT]
    assert stored(engine) == [(1, 3, "a", 1, 5, 0, None)]


@pytest.mark.parametrize("bad", [row("a", 1, 1, 40_000), row("nul \0", 1, 1)])
def test_refused_content_leaves_nothing_of_the_call_behind(engine: Engine, bad: RowChange) -> None:
    sink = PostgresSink(engine, COUNTED, 1)
    with pytest.raises(SinkRejected):
        sink.apply([ShardWrite(3, None, at(2), {"a": b"A"}, [row("a", 1, 5)]), ShardWrite(4, None, at(1), {}, [bad])])
    assert sink.fences([3, 4]) == [None, None]
    assert stored(engine) == []
    assert sink.apply([ShardWrite(3, None, at(2), {"a": b"A"}, [row("a", 1, 5)])]) == [APPLIED]


def test_invariant_10_a_refused_row_parks_its_key_on_a_real_server(engine: Engine) -> None:
    log, sink = MemoryLog(), PostgresSink(engine, COUNTED, 1)
    for number in range(40):
        small = 40_000 if number == 17 else 1
        log.append(f"rider-{number % 5}", "GpsPing", {"event_timestamp_ms": number, "small": small})
    runner = StreamFollower(COUNTED, log_port=log, consumer=ScriptedTopic(), sink=sink, decode=json.loads, partitions=8)
    runner.step(0)
    marks = {key: mark for found in sink.parked(range(64)).values() for key, mark in found.items()}
    assert [(key, mark.position, mark.kind) for key, mark in marks.items()] == [("rider-2", 18, "refused")]
    assert "smallint" in marks["rider-2"].reason
    assert runner.lag(log.head("Rider")) == 0
    assert sum(int(str(found[4])) for found in stored(engine)) == 8 * 4 + 3


def test_reset_and_drop_take_the_rows_of_their_own_and_no_others(engine: Engine) -> None:
    one, two = PostgresSink(engine, COUNTED, 1), PostgresSink(engine, COUNTED, 2)
    for sink in (one, two):
        sink.apply([ShardWrite(s, None, at(1), {"k": b"1"}, [row("k", 0, 1)]) for s in (3, 4)])
    assert one.reset(3, at(1), at(0))
    assert [found[:2] for found in stored(engine)] == [(1, 4), (2, 3), (2, 4)]
    two.drop()
    assert [found[:2] for found in stored(engine)] == [(1, 4)]
    assert two.fences([3, 4]) == [None, None]


def test_live_rows_and_a_rebuild_have_one_result(engine: Engine) -> None:
    log, topic, sink = MemoryLog(), ScriptedTopic(), PostgresSink(engine, COUNTED, 1)
    runner = StreamFollower(COUNTED, log_port=log, consumer=topic, sink=sink, decode=json.loads, partitions=8)
    runner.step(0)
    events: list[LoggedEvent] = [
        log.append(f"rider-{n % 7}", "GpsPing", {"event_timestamp_ms": n * 400_000}) for n in range(90)
    ]
    topic.deliver(events[:50])
    topic.deliver(events[:50:2])  # again
    topic.deliver(events[60:])  # with a gap
    while topic.batches:
        runner.step(0)
    runner.idle_check()
    runner.idle_check()
    rebuilt = PostgresSink(engine, COUNTED, 2)
    StreamFollower(COUNTED, log_port=log, consumer=ScriptedTopic(), sink=rebuilt, decode=json.loads, partitions=8).step(
        0
    )
    for shard in range(64):
        live, other = sink.dump(shard), rebuilt.dump(shard)
        assert (live.states, live.rows) == (other.states, other.rows)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT sum(seen) FROM counted WHERE generation = 2")).scalar_one() == 90


def test_rows_do_not_vanish_during_a_refold_and_are_replaced_in_one_step(engine: Engine) -> None:
    sink = PostgresSink(engine, COUNTED, 1)
    sink.apply(
        [
            ShardWrite(3, None, at(2), {"a": b"old"}, [row("a", 1, 5, 1, 70), row("gone", 1, 9)]),
            ShardWrite(4, None, at(2), {"b": b"B"}, [row("b", 1, 7)]),
        ]
    )
    served = stored(engine)
    staging, begun = sink.staging(), START._replace(incarnation="refold")
    assert staging.reset(3, None, begun)
    new = at(4)._replace(incarnation="refold")
    assert staging.apply([ShardWrite(3, begun, new, {"a": b"new"}, [row("a", 1, 2, 0, 60), row("a", 2, 1)])]) == [
        APPLIED
    ]
    with engine.connect() as connection:
        of_readers = [tuple(r) for r in connection.execute(select(*counted.c).where(counted.c.generation == 1))]
    assert sorted(of_readers) == sorted(served)
    assert sink.promote(3, at(2), new)
    assert stored(engine) == [
        (1, 3, "a", 1, 2, 0, 60),
        (1, 3, "a", 2, 1, 0, None),
        (1, 4, "b", 1, 7, 0, None),
    ]
    # A row that is there is merged into by the usual rule.
    assert sink.apply([ShardWrite(3, new, new._replace(seq=5, position=50), {}, [row("a", 1, 1)])]) == [APPLIED]
    assert stored(engine)[0] == (1, 3, "a", 1, 3, 0, 60)


def test_drop_deletes_the_staged_rows_too(engine: Engine) -> None:
    sink = PostgresSink(engine, COUNTED, 1)
    sink.staging().apply([ShardWrite(3, None, at(2), {"a": b"a"}, [row("a", 1, 5)])])
    sink.drop()
    assert stored(engine) == []
    assert sink.staging().fences([3]) == [None]


def test_regression_a_number_that_postgres_cannot_hold_is_no_unavailable_server(engine: Engine) -> None:
    log = PostgresLog(engine)
    for ask in (
        lambda: log.events_at([10**30]),
        lambda: log.read_key("Rider", "anna", 2**70, 5, 10**30),
        lambda: PostgresSink(engine, COUNTED, 1).apply([ShardWrite(3, None, at(2)._replace(position=10**30), {})]),
    ):
        with pytest.raises(SinkRejected, match="out of range"):
            ask()
