"""What is read and written at each commit costs the same while a transaction stays open (pg_dump, an analyst).

Measured in pages that the server touches, which no other load of the machine changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, text

from infrastructure.cdc.heartbeat import HeartbeatSender
from infrastructure.cdc.relay_checkpoint import RelayCheckpointStore
from infrastructure.event_store.log_head import read_head
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.observability import metrics
from infrastructure.observability.dead_rows import show_dead_rows
from infrastructure.observability.stage_reports import StageProgress, StageReporter, read_stages
from infrastructure.postgres.engine import reader_engine, sink_engine, writer_engine
from infrastructure.postgres.projection_sink import PostgresSink
from projections.core.ports import ApplyOutcome, Fence, ShardWrite
from projections.speed import SPEED
from read_models.generations import fences
from tests.support.postgres.log_events import events_of
from tests.support.waiting import eventually

COMMITS = 700
PRUNING_PAGES = 60
"""Pages that a pruning may touch, which may be due in the step that is measured."""

# Of the tables of one log, not of the catalogue. The events are left out: they only grow.
_PAGES = text(
    "SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read, 0) + coalesce(idx_blks_hit, 0))::bigint"
    " FROM pg_statio_user_tables WHERE relname NOT LIKE 'events%'"
)
_BACKENDS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
)


@contextmanager
def open_transaction(url: str) -> Iterator[None]:
    """A snapshot of the database as it is now, held until the end of the block."""
    engine = reader_engine(url)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.execute(text("SELECT count(*) FROM events"))
        yield
    engine.dispose()


class Pages:
    """Counts what an action touches. A session reports its counts when it ends, so each action has its own session."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = reader_engine(url).execution_options(isolation_level="AUTOCOMMIT")

    def touched(self, act: Callable[[Engine], object], engine_of: Callable[[str], Engine] = writer_engine) -> int:
        before = self._all()
        engine = engine_of(self._url)
        act(engine)
        others = self._backends()
        engine.dispose()
        eventually(lambda: self._backends() < others, what="the session has ended")
        return self._all() - before

    def _all(self) -> int:
        with self._engine.connect() as connection:
            connection.execute(text("SELECT pg_stat_clear_snapshot()"))
            return int(connection.execute(_PAGES).scalar_one())

    def _backends(self) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(_BACKENDS).scalar_one())

    def close(self) -> None:
        self._engine.dispose()


@pytest.fixture
def pages(postgres_url: str) -> Iterator[Pages]:
    one = Pages(postgres_url)
    yield one
    one.close()


def fence(seq: int) -> Fence:
    return Fence("log-1", "one", seq, seq)


class Steps:
    """Each method is what some process does at every commit, or once a second; ``engine`` is its own."""

    def __init__(self) -> None:
        self.version = 0
        self.seq = -1

    def append(self, engine: Engine) -> None:
        EventRecorder(engine).insert_events(events_of("anna", self.version + 1, 1))
        self.version += 1

    def read_head(self, engine: Engine) -> None:
        with engine.connect() as connection:
            read_head(connection)

    def beat(self, engine: Engine) -> None:
        HeartbeatSender(engine, lambda seconds: None).send_if_due()

    def keep_mark(self, engine: Engine) -> None:
        with engine.connect() as connection:
            log_id = read_head(connection).log_id
        marks = RelayCheckpointStore(engine, "ridelog")
        marks.advance(log_id, self.version, self.version)
        found = marks.read()
        assert found is not None
        assert found.position == self.version

    def apply(self, engine: Engine) -> None:
        sink = PostgresSink(engine, SPEED, 1)
        shards = range(8)
        expected = None if self.seq < 0 else fence(self.seq)
        writes = [ShardWrite(shard, expected, fence(self.seq + 1), {}) for shard in shards]
        assert sink.fences(shards) == [expected] * len(shards)
        assert sink.apply(writes) == [ApplyOutcome.APPLIED] * len(writes)
        self.seq += 1

    def read_fences(self, engine: Engine) -> None:
        with engine.connect() as connection:
            connection.execute(fences("analytics")).all()

    def report(self, engine: Engine) -> None:
        StageReporter(engine, "speed").report(StageProgress(position=self.version))
        (found,) = read_stages(engine)
        assert found.progress.position == self.version


@pytest.mark.parametrize(
    ("repeated", "measured", "engine_of"),
    [
        ("append", "append", writer_engine),
        ("append", "read_head", reader_engine),
        ("append", "beat", reader_engine),
        ("keep_mark", "keep_mark", reader_engine),
        ("apply", "apply", sink_engine),
        ("report", "report", reader_engine),
    ],
)
def test_regression_an_open_transaction_does_not_make_each_step_dearer_than_the_one_before(
    postgres_url: str, pages: Pages, repeated: str, measured: str, engine_of: Callable[[str], Engine]
) -> None:
    """Of a row that is updated for ever every dead version is passed over, as long as one snapshot may see it."""
    steps: Any = Steps()
    engine = engine_of(postgres_url)
    steps.append(engine)
    getattr(steps, repeated)(engine)
    with open_transaction(postgres_url):
        before = pages.touched(getattr(steps, measured), engine_of)
        for _ in range(COMMITS):
            getattr(steps, repeated)(engine)
        after = pages.touched(getattr(steps, measured), engine_of)
    engine.dispose()
    # Twice: each index grows by a level.
    assert after <= 2 * before + PRUNING_PAGES, (before, after)


def test_old_numbers_are_pruned_and_the_head_stays(postgres_url: str, pages: Pages) -> None:
    steps = Steps()
    engine = writer_engine(postgres_url)
    recorder = EventRecorder(engine)
    for version in range(1, COMMITS + 1):
        recorder.insert_events(events_of("anna", version, 1))
    for _ in range(200):
        steps.version = COMMITS
        steps.keep_mark(engine)
        steps.apply(engine)
        steps.report(engine)
    with engine.connect() as connection:
        head = read_head(connection)
        kept = {
            table: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
            for table in ("log_numbers", "relay_marks", "projection_fences", "stage_reports")
        }
    engine.dispose()
    assert (head.position, sum(head.shards_of("Rider"))) == (COMMITS, COMMITS)
    assert kept["log_numbers"] <= 2 * 256
    assert kept["relay_marks"] <= 2 * 64
    assert kept["projection_fences"] <= 8 * 2 * 32
    assert kept["stage_reports"] <= 2 * 64


def test_an_open_transaction_and_what_it_keeps_are_shown(postgres_url: str) -> None:
    engine = writer_engine(postgres_url)
    steps = Steps()
    steps.append(engine)
    # Without autovacuum, which may run in between and reset the counts.
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE log_numbers SET (autovacuum_enabled = false)"))
        connection.execute(text("INSERT INTO log_numbers SELECT n, 1, now(), '{}' FROM generate_series(10, 59) n"))
    with open_transaction(postgres_url):
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM log_numbers WHERE number < 50"))
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_stat_force_next_flush()"))
            connection.commit()
            connection.execute(text("SELECT pg_stat_clear_snapshot()"))
            show_dead_rows(connection)
        oldest, dead = metrics.OLDEST_TRANSACTION._value.get(), metrics.DEAD_ROWS.labels("log_numbers")._value.get()
    eventually(lambda: _oldest(engine) == 0.0, what="no transaction is open")
    engine.dispose()
    assert oldest > 0
    assert dead >= 40


def _oldest(engine: Engine) -> float:
    with engine.connect() as connection:
        show_dead_rows(connection)
    return float(metrics.OLDEST_TRANSACTION._value.get())
