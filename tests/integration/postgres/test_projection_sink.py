"""What is special to the Postgres sink: rows, merged in the transaction that moves the fence."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, select, text

from infrastructure.event_store.log_reader import PostgresLog
from infrastructure.postgres.engine import reader_engine, sink_engine
from infrastructure.postgres.projection_sink import PostgresSink
from infrastructure.postgres.sink_statements import LOCK_SHARDS
from projections.core.ports import (
    ApplyOutcome,
    Fence,
    LoggedEvent,
    PortUnavailable,
    ShardDump,
    ShardWrite,
    SinkRejected,
)
from projections.live.stream_follower import StreamFollower
from read_models.rows import RowChange
from tests.support.ports_in_memory.projection_ports import MemoryLog, ScriptedTopic
from tests.support.servers.stopped_writer import QUICK, stopped_in_copy
from tests.support.waiting import eventually
from tests.support.worlds.counting_projection import COUNTED, counted, metadata

APPLIED, FENCE_CONFLICT = ApplyOutcome.APPLIED, ApplyOutcome.FENCE_CONFLICT
START = Fence("log-1", "one", 0, 0)


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = reader_engine(postgres_url)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def at(seq: int) -> Fence:
    return START._replace(seq=seq, position=seq * 10)


def row(key: str, hour: int, seen: int, small: int = 0, last: int | None = None) -> RowChange:
    return RowChange("counted", (key, hour), (seen, small), None if last is None else (last,))


def stored(engine: Engine) -> list[tuple[object, ...]]:
    query = select(*counted.c).order_by(counted.c.generation, counted.c.shard, counted.c.key, counted.c.hour)
    with engine.connect() as connection:
        return [tuple(found) for found in connection.execute(query)]


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


def test_workers_that_meet_in_several_shards_wait_for_each_other(engine: Engine) -> None:
    sinks = [PostgresSink(engine, COUNTED, 1), PostgresSink(engine, COUNTED, 1)]
    won = [0, 0]
    start = threading.Barrier(2)

    def work(number: int) -> None:
        sink, shards = sinks[number], list(range(8))[:: 1 if number else -1]
        start.wait(timeout=30)
        for _ in range(60):
            fences = dict(zip(shards, sink.fences(shards), strict=True))
            writes = [
                ShardWrite(s, fences[s], at((fences[s] or START).seq + 1), {"k": b"%d" % number}, [row("k", s, 1)])
                for s in shards
            ]
            won[number] += sink.apply(writes).count(APPLIED)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    fences = sinks[0].fences(range(8))
    assert sum(fence.seq for fence in fences if fence) == sum(won) > 0
    assert sum(int(str(found[4])) for found in stored(engine)) == sum(won)


def test_invariant_4_a_snapshot_is_of_one_instant_whatever_is_written_meanwhile(engine: Engine) -> None:
    sink, stop = PostgresSink(engine, COUNTED, 1), threading.Event()
    sink.apply([ShardWrite(3, None, at(1), {"k": b"1"}, [row("k", 0, 1)])])

    def write() -> None:
        seq = 1
        while not stop.is_set():
            sink.apply([ShardWrite(3, at(seq), at(seq + 1), {"k": b"%d" % (seq + 1)}, [row("k", 0, 1)])])
            seq += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen: set[int] = set()
        while len(seen) < 20:
            snapshot = sink.dump(3)
            assert snapshot.fence is not None
            seq = snapshot.fence.seq
            assert snapshot.states == {"k": b"%d" % seq}
            assert list(snapshot.rows.values()) == [b"%d 0 null" % seq]
            seen.add(seq)
    finally:
        stop.set()
        writer.join(timeout=30)


def test_reset_and_drop_take_the_rows_of_their_own_and_no_others(engine: Engine) -> None:
    one, two = PostgresSink(engine, COUNTED, 1), PostgresSink(engine, COUNTED, 2)
    for sink in (one, two):
        sink.apply([ShardWrite(s, None, at(1), {"k": b"1"}, [row("k", 0, 1)]) for s in (3, 4)])
    assert one.reset(3, at(1), at(0))
    assert [found[:2] for found in stored(engine)] == [(1, 4), (2, 3), (2, 4)]
    two.drop()
    assert [found[:2] for found in stored(engine)] == [(1, 4)]
    assert two.fences([3, 4]) == [None, None]


def test_a_drop_waits_for_a_writer_and_takes_what_it_wrote(engine: Engine) -> None:
    sink = PostgresSink(engine, COUNTED, 1)
    sink.apply([ShardWrite(3, None, at(1), {"k": b"1"})])
    errors: list[Exception] = []

    def drop() -> None:
        try:
            sink.drop()
        except PortUnavailable as error:
            errors.append(error)

    dropping = threading.Thread(target=drop)
    with engine.begin() as writer:
        # What ``apply`` does, stopped between its fence and its states.
        cursor = writer.connection.cursor()
        cursor.execute(LOCK_SHARDS, ("counted", 1, [3]))
        dropping.start()
        eventually(lambda: waiting_for_a_lock(engine), what="the drop waits for the writer")
        cursor.execute("UPDATE projection_states SET state = '2' WHERE key = 'k'")
        cursor.execute("INSERT INTO projection_states VALUES ('counted', 1, 3, 'new', '1')")
    dropping.join(timeout=60)
    assert not errors
    assert sink.dump(3) == ShardDump(None, {}, {}, {})


def waiting_for_a_lock(engine: Engine) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with engine.connect() as connection:
        return bool(connection.execute(text(query)).scalar_one())


def test_a_connection_that_died_is_a_port_error_once_and_replaced(engine: Engine) -> None:
    sink = PostgresSink(engine, COUNTED, 1)
    assert sink.fences([1]) == [None]

    def die(writes: list[ShardWrite]) -> None:
        with sink._transaction() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(PortUnavailable):
        die([])
    assert sink.apply([ShardWrite(3, None, at(2), {"a": b"A"}, [row("a", 1, 5)])]) == [APPLIED]


def test_regression_a_worker_stopped_inside_its_transaction_does_not_hold_its_shards_for_ever(
    postgres_url: str, engine: Engine
) -> None:
    PostgresSink(engine, COUNTED, 1).apply([ShardWrite(3, None, at(1), {"k": b"1"})])
    stopped, successor = sink_engine(postgres_url), sink_engine(postgres_url)
    with stopped.connect() as zombie:
        zombie.execute(text("SELECT * FROM projection_shards FOR UPDATE"))  # and then nothing: SIGSTOP
        assert PostgresSink(successor, COUNTED, 1).apply([ShardWrite(3, at(1), at(2), {"k": b"2"})]) == [APPLIED]
        zombie.invalidate()
    for one in (stopped, successor):
        one.dispose()


def test_regression_a_worker_stopped_in_the_middle_of_a_copy_does_not_hold_its_shards_for_ever(
    postgres_url: str, engine: Engine
) -> None:
    """No time-out of the server ends it: found by a zombie consumer that had been stopped at that point."""
    PostgresSink(engine, COUNTED, 1).apply([ShardWrite(3, None, at(1), {"k": b"1"})])
    zombie, successor = sink_engine(postgres_url, timeouts=QUICK), sink_engine(postgres_url, timeouts=QUICK)
    sink = PostgresSink(successor, COUNTED, 1)

    def applied() -> bool:
        try:
            return sink.apply([ShardWrite(3, at(1), at(2), {"k": b"2"})]) == [APPLIED]
        except PortUnavailable:
            return False

    with stopped_in_copy(zombie, "SELECT FROM projection_shards FOR UPDATE"):
        eventually(applied, within_s=20, what="the successor has the shard")
    for one in (zombie, successor):
        one.dispose()


def test_a_server_that_is_away_is_a_port_error() -> None:
    engine = reader_engine("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(PortUnavailable):
        PostgresSink(engine, COUNTED, 1).fences([0])
    engine.dispose()


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


def test_drop_takes_the_rows_beside_too(engine: Engine) -> None:
    sink = PostgresSink(engine, COUNTED, 1)
    sink.staging().apply([ShardWrite(3, None, at(2), {"a": b"a"}, [row("a", 1, 5)])])
    sink.drop()
    assert stored(engine) == []
    assert sink.staging().fences([3]) == [None]


def test_regression_a_number_that_postgres_cannot_hold_is_no_server_that_is_away(engine: Engine) -> None:
    log = PostgresLog(engine)
    for ask in (
        lambda: log.events_at([10**30]),
        lambda: log.read_key("Rider", "anna", 2**70, 5, 10**30),
        lambda: PostgresSink(engine, COUNTED, 1).apply([ShardWrite(3, None, at(2)._replace(position=10**30), {})]),
    ):
        with pytest.raises(SinkRejected, match="out of range"):
            ask()
