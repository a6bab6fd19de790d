"""Several workers write to one Postgres sink, and some of them stop, die or drop it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from infrastructure.postgres.engine import reader_engine, sink_engine
from infrastructure.postgres.projection_sink import PostgresSink
from infrastructure.postgres.sink_statements import LOCK_SHARDS
from projections.core.ports import (
    PortUnavailable,
    ShardDump,
    ShardWrite,
)
from tests.support.postgres.counted_rows import APPLIED, START, at, row, stored
from tests.support.servers.stopped_writer import QUICK, stopped_in_copy
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually
from tests.support.worlds.counting_projection import COUNTED, metadata


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = reader_engine(postgres_url)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_workers_that_meet_in_several_shards_wait_for_each_other(engine: Engine) -> None:
    sinks = [PostgresSink(engine, COUNTED, 1), PostgresSink(engine, COUNTED, 1)]
    won = [0, 0]
    start = threading.Barrier(2)

    def work(number: int) -> None:
        sink, shards = sinks[number], list(range(8))[:: 1 if number else -1]
        start.wait(timeout=scaled_s(30))
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
        thread.join(timeout=scaled_s(60))
    assert not any(thread.is_alive() for thread in threads)
    fences = sinks[0].fences(range(8))
    assert sum(fence.seq for fence in fences if fence) == sum(won) > 0
    assert sum(int(str(found[4])) for found in stored(engine)) == sum(won)


def test_invariant_4_a_dump_is_of_one_instant_whatever_is_written_meanwhile(engine: Engine) -> None:
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
        writer.join(timeout=scaled_s(30))


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
    dropping.join(timeout=scaled_s(60))
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


def test_an_unavailable_server_is_a_port_error() -> None:
    engine = reader_engine("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(PortUnavailable):
        PostgresSink(engine, COUNTED, 1).fences([0])
    engine.dispose()
