"""How late a stage is, by the oldest event that it has not passed: measured from outside, cheap on a long log."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, event, text

from domain.identifiers import aggregate_id, shard_of
from infrastructure.embedded.server import free_port
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.event_store.log_head import LogHeadRow, read_head
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.ingest.group_commit import GroupCommit
from infrastructure.observability import lag as freshness
from infrastructure.observability import metrics
from infrastructure.observability.lag import HeadWatch, delay_of_position, delay_of_shards, ingest_delays
from infrastructure.observability.stage_reports import POSITIONED, StageProgress, StageReporter, newest, read_stages
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.redis.connection import connect
from infrastructure.redis.projection_sink import RedisSink
from infrastructure.status.pipeline_monitor import KNOWN_FOR_S, PipelineMonitor
from projections.catalogue import PROJECTIONS
from projections.core.ports import Fence, ShardWrite
from tests.support.reports.reported_stages import insert_report

TARGET_MS = 15_000
ANNA, BERTA = "anna", "berta"
SHARD = {rider: shard_of(rider) for rider in (ANNA, BERTA)}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = writer_engine(postgres_url)
    yield engine
    engine.dispose()


def record(
    engine: Engine, rider: str, first: int, count: int, age_s: float, partition_rows: int = 10_000
) -> LogHeadRow:
    """Events of ``rider`` that were recorded ``age_s`` seconds ago; the head after them."""
    recorder = EventRecorder(engine, partition_rows=partition_rows, clock=lambda: now_ms() - round(age_s * 1000))
    recorder.insert_events(
        [
            LogEvent(aggregate_id("Rider", rider), v, "GpsPing", b"x", "Rider", rider, UUID(int=v), now_ms() - v)
            for v in range(first, first + count)
        ]
    )
    with engine.connect() as connection:
        return read_head(connection)


def test_a_stage_is_as_late_as_the_oldest_event_that_it_has_not_passed(engine: Engine) -> None:
    record(engine, ANNA, 1, 1, 60)
    record(engine, ANNA, 2, 1, 40)
    head = record(engine, BERTA, 1, 1, 20)
    seqs = head.shards_of("Rider")
    with engine.connect() as connection:
        delays = [delay_of_position(connection, position) for position in range(4)]
        assert delays == [pytest.approx(60, abs=5), pytest.approx(40, abs=5), pytest.approx(20, abs=5), 0.0]

        def by(anna: int, berta: int) -> float | None:
            fences = {SHARD[ANNA]: Fence("l", "i", anna, anna), SHARD[BERTA]: Fence("l", "i", berta, 3 * berta)}
            return delay_of_shards(connection, "Rider", fences, seqs)

        assert [by(0, 0), by(1, 0), by(2, 0)] == [pytest.approx(s, abs=5) for s in (60, 40, 20)]
        assert by(1, 1) == pytest.approx(40, abs=5)
        assert by(2, 1) == 0.0


def test_the_question_touches_no_partition_of_the_past_and_reads_none_whole(engine: Engine) -> None:
    head = record(engine, ANNA, 1, 8_000, 60, partition_rows=1_000)
    with engine.begin() as connection:
        connection.execute(text("ANALYZE events"))
        values = {"stream": "Rider", "shards": [SHARD[ANNA]], "seqs": [7_501], "above": 7_500}
        explained = text(f"EXPLAIN {freshness._OF_SHARDS.text}")
        plan = "\n".join(connection.execute(explained, values).scalars())
        partitions = connection.execute(text("SELECT count(*) FROM pg_inherits")).scalar_one()
    assert head.position == 8_000
    assert partitions >= 8
    # The one that was made ahead of need is empty, and read as it pleases the server.
    filled = [line for line in plan.splitlines() if re.search(r" on events_p0*[1-7]", line)]
    assert len(filled) == 1, plan
    assert "Index Scan using events_p00000000000000007001" in filled[0]


def test_pings_without_a_time_of_reception_are_pings_all_the_same(engine: Engine) -> None:
    with engine.connect() as connection:
        assert ingest_delays(connection, 0, lambda _: {}) is None
    head = record(engine, ANNA, 1, 3, 0)
    with engine.connect() as connection:
        unknown = ingest_delays(connection, head.position, lambda _: {"received_timestamp_ms": 0})
        assert unknown is not None
        assert (unknown.device, unknown.ingest) == (None, None)
        assert now_ms() - unknown.newest_ms < 30_000
        known = ingest_delays(connection, head.position, lambda _: {"received_timestamp_ms": now_ms() - 2_000})
        assert known is not None
        assert known.ingest is not None
        assert known.ingest.median == pytest.approx(2.0, abs=1.5)


class Watched:
    """A watch of its own over real stores, in which no worker runs; ``now`` is its clock."""

    def __init__(self, postgres_url: str, redis_url: str) -> None:
        self.engine = reader_engine(postgres_url)
        self.client = connect(redis_url)
        for projection in PROJECTIONS.values():
            PostgresGenerations(self.engine).first(projection)
        self.now = 0.0
        self.watch = PipelineMonitor(
            self.engine, self.client, GroupCommit(lambda pings: []), TARGET_MS, None, lambda: self.now
        )

    def late(self, stage: str) -> float:
        return float(metrics.STAGE_LATE.labels(stage)._value.get())


@pytest.fixture
def watched(postgres_url: str, redis_url: str) -> Iterator[Watched]:
    one = Watched(postgres_url, redis_url)
    yield one
    one.client.close()
    one.engine.dispose()


@pytest.mark.parametrize("placed", [0, 1])
def test_regression_a_stage_that_says_nothing_is_late_all_the_same(
    engine: Engine, watched: Watched, placed: int
) -> None:
    record(engine, ANNA, 1, 3, 40)
    assert watched.watch.delay_ms("speed") is None
    # The last word of a worker that was stopped: all is well.
    StageReporter(watched.engine, "speed").report(StageProgress(position=3))
    StageReporter(watched.engine, "tailer").report(StageProgress(position=placed, detail={POSITIONED: True}))
    watched.watch.look()
    for stage in ("speed", "tailer"):
        assert watched.watch.delay_ms(stage) == pytest.approx(40_000, abs=5_000)
        assert watched.late(stage) == 1.0
    assert metrics.STAGE_LAG.labels("speed")._value.get() == 3
    fence = Fence(str(record(engine, BERTA, 1, 1, 0).log_id), "i", 3, 3)
    RedisSink(watched.client, "speed", 1).apply([ShardWrite(SHARD[ANNA], None, fence, {})])
    watched.watch.look()
    assert watched.late("speed") == 0.0
    assert metrics.STAGE_LAG.labels("speed")._value.get() == 1


def test_regression_a_log_whose_clock_is_ahead_hides_no_delay(engine: Engine, watched: Watched) -> None:
    """By the times of recording nothing waits: they are in the future."""
    head = record(engine, ANNA, 1, 3, -240)
    StageReporter(watched.engine, "tailer").report(StageProgress(position=1, detail={POSITIONED: True}))
    with engine.connect() as connection:
        assert delay_of_position(connection, 1) is None
        fences = {SHARD[ANNA]: Fence("l", "i", 1, 1)}
        assert delay_of_shards(connection, "Rider", fences, head.shards_of("Rider")) is None
    watched.watch.look()
    assert watched.watch.delay_ms("speed") == 0
    for watched.now in (50.0, 100.0):
        watched.watch.look()
        for stage in ("speed", "tailer"):
            assert watched.watch.delay_ms(stage) == watched.now * 1000
            assert watched.late(stage) == 1.0
    # What came later is not as late.
    record(engine, ANNA, 4, 1, -240)
    StageReporter(watched.engine, "tailer").report(StageProgress(position=3, detail={POSITIONED: True}))
    watched.watch.look()
    watched.now = 101.0
    watched.watch.look()
    assert watched.watch.delay_ms("tailer") == 1_000


def test_a_watch_tells_how_long_it_has_seen_a_position() -> None:
    clock = iter([10.0, 20.0, *[30.0] * 20])
    watch = HeadWatch(lambda: next(clock))
    assert watch.waits_s(1) == 0.0
    for head in (5, 5, 9):
        watch.saw(head)
    assert [watch.waits_s(position) for position in (1, 5, 6, 9, 10)] == [20.0, 20.0, 10.0, 10.0, 0.0]
    watch.saw(3)  # the log was restored
    assert [watch.waits_s(position) for position in (3, 4)] == [0.0, 0.0]


def test_a_tailer_that_does_not_know_its_place_is_not_judged_by_it(engine: Engine, watched: Watched) -> None:
    record(engine, ANNA, 1, 3, 40)
    StageReporter(watched.engine, "tailer").report(StageProgress())
    watched.watch.look()
    assert watched.watch.delay_ms("tailer") is None


def test_regression_what_was_seen_long_ago_is_not_known(engine: Engine, watched: Watched) -> None:
    watched.watch.look()
    assert watched.watch.delay_ms("speed") == 0
    watched.now = KNOWN_FOR_S + 0.1
    assert watched.watch.delay_ms("speed") is None


def test_a_stage_whose_store_is_away_is_not_known_and_the_others_are(watched: Watched) -> None:
    nobody = connect(f"redis://127.0.0.1:{free_port()}")
    watch = PipelineMonitor(watched.engine, nobody, GroupCommit(lambda pings: []), TARGET_MS)
    watch.look()
    assert (watch.delay_ms("speed"), watch.delay_ms("analytics")) == (None, 0)


def test_generations_are_read_once_a_look_however_many_projections_there_are(watched: Watched) -> None:
    """It looks every second, in every API."""
    asked: list[str] = []

    def ask(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(watched.engine, "before_cursor_execute", ask)
    watched.watch.look()
    assert sum("FROM projection_generations" in statement for statement in asked) == 1
    assert all(watched.watch.delay_ms(name) == 0 for name in PROJECTIONS)


def test_what_a_stage_reports_as_stuck_and_a_generation_that_is_no_more(engine: Engine, watched: Watched) -> None:
    StageReporter(watched.engine, "speed").report(StageProgress(state="hangs: no sign of life for 31 s"))
    metrics.STAGE_LATE.labels("speed@2").set(1)
    with engine.begin() as connection:
        insert_report(connection, "speed@2", "h:1", 3600)
    watched.watch.look()
    assert metrics.STAGE_STUCK.labels("speed")._value.get() == 1.0
    assert watched.late("speed@2") == 0.0


def test_the_api_tells_what_waits_in_it(watched: Watched) -> None:
    watched.watch.look()
    report = newest(read_stages(watched.engine))["ingest"]
    assert (report.connected, report.progress.lag_events, report.progress.delay_s) == (True, 0, 0.0)
