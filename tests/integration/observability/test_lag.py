"""Delay of a stage by the oldest event that it has not passed: measured from outside, cheap on a long log."""

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
from infrastructure.observability import lag, metrics
from infrastructure.observability.lag import HeadWatch, delay_of_position, delay_of_shards, ingest_delays
from infrastructure.observability.stage_reports import POSITIONED, StageProgress, StageReporter, newest, read_stages
from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.redis.connection import connect_server
from infrastructure.redis.projection_sink import RedisSink
from infrastructure.status.pipeline_monitor import IDLE_MEASURE_INTERVAL_S, KNOWN_FOR_S, PipelineMonitor
from projections.catalogue import PROJECTIONS
from projections.core.ports import Fence, ShardWrite
from tests.support.reports.reported_stages import insert_report

TARGET_MS = 15_000
ANNA, BERTA = "anna", "berta"
SHARD = {rider: shard_of(rider) for rider in (ANNA, BERTA)}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


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
    record(engine, ANNA, 1, 1, 6_000)
    record(engine, ANNA, 2, 1, 4_000)
    head = record(engine, BERTA, 1, 1, 2_000)
    seqs = head.shards_of("Rider")
    late = [pytest.approx(age_s, abs=500) for age_s in (6_000, 4_000, 2_000)]
    with engine.connect() as connection:
        assert [delay_of_position(connection, position) for position in range(4)] == [*late, 0.0]

        def by(anna: int, berta: int) -> float | None:
            fences = {SHARD[ANNA]: Fence("l", "i", anna, anna), SHARD[BERTA]: Fence("l", "i", berta, 3 * berta)}
            return delay_of_shards(connection, "Rider", fences, seqs)

        assert [by(0, 0), by(1, 0), by(2, 0)] == late
        assert by(1, 1) == late[1]
        assert by(2, 1) == 0.0


def test_the_query_touches_no_old_partition_and_scans_none_completely(engine: Engine) -> None:
    head = record(engine, ANNA, 1, 8_000, 60, partition_rows=1_000)
    with engine.begin() as connection:
        connection.execute(text("ANALYZE events"))
        values = {"stream": "Rider", "shards": [SHARD[ANNA]], "seqs": [7_501], "above": 7_500}
        explained = text(f"EXPLAIN {lag._OF_SHARDS.text}")
        plan = "\n".join(connection.execute(explained, values).scalars())
        partitions = connection.execute(text("SELECT count(*) FROM pg_inherits")).scalar_one()
    assert head.position == 8_000
    assert partitions >= 8
    # The partition created ahead of need is empty; how the server reads it does not matter.
    filled = [line for line in plan.splitlines() if re.search(r" on events_p0*[1-7]", line)]
    assert len(filled) == 1, plan
    assert "Index Scan using events_p00000000000000007001" in filled[0]


def test_pings_without_a_time_of_reception_still_count_as_pings(engine: Engine) -> None:
    with engine.connect() as connection:
        assert ingest_delays(connection, 0, lambda _: {}) is None
    before_ms = now_ms()
    head = record(engine, ANNA, 1, 3, 0)
    took_s = (now_ms() - before_ms) / 1_000
    with engine.connect() as connection:
        unknown = ingest_delays(connection, head.position, lambda _: {"received_timestamp_ms": 0})
        assert unknown is not None
        assert (unknown.device, unknown.ingest) == (None, None)
        assert now_ms() - unknown.newest_ms < 30_000
        known = ingest_delays(connection, head.position, lambda _: {"received_timestamp_ms": before_ms - 2_000})
        assert known is not None
        assert known.ingest is not None
        assert 2.0 <= known.ingest.median <= 2.001 + took_s


class MonitoredPipeline:
    """A pipeline monitor of its own over real stores, without workers; ``now`` is its clock."""

    def __init__(self, postgres_url: str, redis_url: str) -> None:
        self.engine = reader_engine(postgres_url)
        self.client = connect_server(redis_url)
        for projection in PROJECTIONS.values():
            PostgresGenerations(self.engine).first(projection)
        self.now = 0.0
        self.monitor = PipelineMonitor(
            self.engine, self.client, GroupCommit(lambda pings: []), TARGET_MS, clock=lambda: self.now
        )

    def is_late(self, stage: str) -> float:
        return float(metrics.STAGE_LATE.labels(stage)._value.get())


@pytest.fixture
def monitored(postgres_url: str, redis_url: str) -> Iterator[MonitoredPipeline]:
    one = MonitoredPipeline(postgres_url, redis_url)
    yield one
    one.client.close()
    one.engine.dispose()


@pytest.mark.parametrize("position", [0, 1])
def test_regression_a_stage_that_reports_nothing_is_still_late(
    engine: Engine, monitored: MonitoredPipeline, position: int
) -> None:
    record(engine, ANNA, 1, 3, 4_000)
    assert monitored.monitor.delay_ms("speed") is None
    # The last report of a stopped worker says that all is well.
    StageReporter(monitored.engine, "speed").report(StageProgress(position=3))
    StageReporter(monitored.engine, "tailer").report(StageProgress(position=position, detail={POSITIONED: True}))
    monitored.monitor.measure()
    for stage in ("speed", "tailer"):
        assert monitored.monitor.delay_ms(stage) == pytest.approx(4_000_000, abs=500_000)
        assert monitored.is_late(stage) == 1.0
    assert metrics.STAGE_LAG.labels("speed")._value.get() == 3
    fence = Fence(str(record(engine, BERTA, 1, 1, 0).log_id), "i", 3, 3)
    RedisSink(monitored.client, "speed", 1).apply([ShardWrite(SHARD[ANNA], None, fence, {})])
    monitored.monitor.measure()
    assert monitored.is_late("speed") == 0.0
    assert metrics.STAGE_LAG.labels("speed")._value.get() == 1


def test_regression_a_log_whose_clock_is_ahead_hides_no_delay(engine: Engine, monitored: MonitoredPipeline) -> None:
    """By the recording times nothing waits, because they are in the future."""
    head = record(engine, ANNA, 1, 3, -240)
    StageReporter(monitored.engine, "tailer").report(StageProgress(position=1, detail={POSITIONED: True}))
    with engine.connect() as connection:
        assert delay_of_position(connection, 1) is None
        fences = {SHARD[ANNA]: Fence("l", "i", 1, 1)}
        assert delay_of_shards(connection, "Rider", fences, head.shards_of("Rider")) is None
    monitored.monitor.measure()
    assert monitored.monitor.delay_ms("speed") == 0
    for monitored.now in (50.0, 100.0):
        monitored.monitor.measure()
        for stage in ("speed", "tailer"):
            assert monitored.monitor.delay_ms(stage) == monitored.now * 1000
            assert monitored.is_late(stage) == 1.0
    # A later event is less late.
    record(engine, ANNA, 4, 1, -240)
    StageReporter(monitored.engine, "tailer").report(StageProgress(position=3, detail={POSITIONED: True}))
    monitored.monitor.measure()
    monitored.now = 101.0
    monitored.monitor.measure()
    assert monitored.monitor.delay_ms("tailer") == 1_000


def test_a_head_watch_measures_how_long_it_has_seen_a_position() -> None:
    clock = iter([10.0, 20.0, *[30.0] * 20])
    watch = HeadWatch(lambda: next(clock))
    assert watch.waiting_s(1) == 0.0
    for head in (5, 5, 9):
        watch.observe(head)
    assert [watch.waiting_s(position) for position in (1, 5, 6, 9, 10)] == [20.0, 20.0, 10.0, 10.0, 0.0]
    watch.observe(3)  # the log was restored
    assert [watch.waiting_s(position) for position in (3, 4)] == [0.0, 0.0]


def test_a_tailer_that_does_not_know_its_position_has_no_known_delay(
    engine: Engine, monitored: MonitoredPipeline
) -> None:
    record(engine, ANNA, 1, 3, 40)
    StageReporter(monitored.engine, "tailer").report(StageProgress())
    monitored.monitor.measure()
    assert monitored.monitor.delay_ms("tailer") is None


def test_regression_an_old_measurement_does_not_count_as_known(engine: Engine, monitored: MonitoredPipeline) -> None:
    monitored.monitor.measure()
    assert monitored.monitor.delay_ms("speed") == 0
    monitored.now = KNOWN_FOR_S + 0.1
    assert monitored.monitor.delay_ms("speed") is None


def test_only_the_delay_of_a_stage_whose_store_is_unavailable_is_unknown(monitored: MonitoredPipeline) -> None:
    unreachable = connect_server(f"redis://127.0.0.1:{free_port()}")
    monitor = PipelineMonitor(monitored.engine, unreachable, GroupCommit(lambda pings: []), TARGET_MS)
    monitor.measure()
    assert (monitor.delay_ms("speed"), monitor.delay_ms("analytics")) == (None, 0)


def test_one_measurement_reads_the_generations_once_for_all_projections(monitored: MonitoredPipeline) -> None:
    """The monitor measures every second, in every API process."""
    statements: list[str] = []

    def ask(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(monitored.engine, "before_cursor_execute", ask)
    monitored.monitor.measure()
    assert sum("FROM projection_generations" in statement for statement in statements) == 1
    assert all(monitored.monitor.delay_ms(name) == 0 for name in PROJECTIONS)


def test_while_the_log_does_not_grow_projections_are_measured_every_few_seconds_only(
    engine: Engine, monitored: MonitoredPipeline
) -> None:
    heads: list[str] = []

    def ask(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "FROM log_head" in statement:
            heads.append(statement)

    def measured(at_s: float, *, reuse: bool = True) -> int:
        """How many projections are measured: each is compared with the head, which is read once more for all."""
        heads.clear()
        monitored.now = at_s
        monitored.monitor.measure(reuse=reuse)
        return len(heads) - 1

    event.listen(monitored.engine, "before_cursor_execute", ask)
    assert measured(0.0) == len(PROJECTIONS)
    assert measured(1.0) == 0, "nothing was recorded since"
    assert monitored.monitor.delay_ms("speed") == 0
    assert measured(2.0, reuse=False) == len(PROJECTIONS)
    assert measured(2.0 + IDLE_MEASURE_INTERVAL_S) == len(PROJECTIONS), "a store may have been emptied meanwhile"
    record(engine, ANNA, 1, 3, 4_000)
    assert measured(3.0 + IDLE_MEASURE_INTERVAL_S) == len(PROJECTIONS)
    assert monitored.is_late("speed") == 1.0
    behind = [name for name, projection in PROJECTIONS.items() if projection.stream == "Rider"]
    assert measured(4.0 + IDLE_MEASURE_INTERVAL_S) == len(behind), "what is behind is measured each time"


def test_a_stuck_stage_is_exported_and_a_dropped_generation_is_not_late(
    engine: Engine, monitored: MonitoredPipeline
) -> None:
    StageReporter(monitored.engine, "speed").report(StageProgress(state="hangs: no sign of life for 31 s"))
    metrics.STAGE_LATE.labels("speed@2").set(1)
    with engine.begin() as connection:
        insert_report(connection, "speed@2", "h:1", 3600)
    monitored.monitor.measure()
    assert metrics.STAGE_STUCK.labels("speed")._value.get() == 1.0
    assert monitored.is_late("speed@2") == 0.0


def test_the_api_reports_the_pings_that_wait_in_it(monitored: MonitoredPipeline) -> None:
    monitored.monitor.measure()
    report = newest(read_stages(monitored.engine))["ingest"]
    assert (report.connected, report.progress.lag_events, report.progress.delay_s) == (True, 0, 0.0)
