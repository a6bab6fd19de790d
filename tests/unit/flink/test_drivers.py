"""Runner, rebuild and Flink drive one follower: whatever the schedule, state and fence are those of the pure fold."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from infrastructure.flink.generation_driver import IDLE_CHECK_INTERVAL_S, GenerationDriver
from infrastructure.flink.pushed_records import PushedConsumer
from projections.core.ports import ConsumerRecord, LoggedEvent, ShardWrite
from projections.core.shard_processor import ProcessorLimits
from projections.live.stream_follower import StreamFollower
from projections.rebuild.catch_up import CatchUp
from projections.speed import SPEED
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink, ScriptedTopic, ServerUnavailable
from tests.support.worlds.speed_events import RIDERS, expected_states, ping_data

PARTITIONS = 4
LIMITS = ProcessorLimits(fill_events=3, cached_states_per_shard=1, chunk_positions=4)

record = st.tuples(st.just("record"), st.sampled_from(RIDERS), st.integers(0, 40), st.booleans())
batch = st.tuples(st.just("batch"), st.integers(0, PARTITIONS - 1), st.integers(0, 8))
restore = st.tuples(st.just("restore"), st.integers(0, 12))
copy = st.tuples(st.just("copy"), st.integers(0, PARTITIONS - 1))
crash = st.tuples(st.just("crash"), st.booleans())
tick = st.tuples(st.just("tick"))
schedules = st.lists(st.one_of(record, record, record, batch, batch, restore, copy, crash, tick), max_size=60)


class TopicInMemory:
    """The records of each partition. Of a lost event there is no record at all."""

    def __init__(self) -> None:
        self.partitions: dict[int, list[ConsumerRecord]] = defaultdict(list)
        self._record = ScriptedTopic(PARTITIONS).record

    def publish(self, event: LoggedEvent) -> None:
        record = self._record(event)
        records = self.partitions[record.partition]
        records.append(record._replace(offset=len(records)))

    def ends(self, partitions: Sequence[int]) -> Mapping[int, int]:
        return {partition: len(self.partitions[partition]) for partition in partitions}


class NoReports:
    lag = 0
    trouble = ""

    def report_if_due(self) -> None:
        """Nothing is shown."""


class World:
    """A log, a topic and a store; what happens to them is a schedule."""

    def __init__(self) -> None:
        self.log, self.topic, self.sink = MemoryLog(), TopicInMemory(), MemorySink()
        self.now_s = 0.0
        self.crashes: list[bool] = []
        self.sink.before_apply = self._crash

    def record(self, rider: str, second: int, published: bool) -> None:
        number = len(self.log.events)
        event = self.log.append(rider, "GpsPing", ping_data(rider, 1_790_000_000_000 + second * 1000, number))
        if published:
            self.topic.publish(event)

    def driver(self) -> GenerationDriver:
        @contextmanager
        def opened(consumer: PushedConsumer) -> Iterator[StreamFollower[Any]]:
            yield StreamFollower(
                SPEED,
                log_port=self.log,
                consumer=consumer,
                sink=self.sink,
                decode=json.loads,
                partitions=PARTITIONS,
                limits=LIMITS,
            )

        return GenerationDriver(opened, lambda follower: NoReports(), self.topic.ends, lambda: self.now_s)

    def right(self) -> bool:
        seqs = self.log.head("Rider").seqs
        fences_right = all(self.sink.held[shard].seq == seq for shard, seq in enumerate(seqs) if seq)
        return fences_right and self.sink.all_states() == expected_states(self.log.events)

    def _crash(self, writes: Sequence[ShardWrite]) -> None:
        if not self.crashes:
            return
        answer_lost = self.crashes.pop()
        if answer_lost:
            self.sink.before_apply = lambda _: None
            self.sink.apply(writes[:1])
            self.sink.before_apply = self._crash
        raise ServerUnavailable("killed")


class FlinkJob:
    """One subtask that holds every partition, and what Flink does to it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._driver = world.driver()
        self._copy = world.driver()
        self._offsets: dict[int, int] = defaultdict(int)

    def batch(self, partition: int, count: int) -> None:
        start = self._offsets[partition]
        records = self._world.topic.partitions[partition][start : start + count]
        self._receive(self._driver, partition, records)
        self._offsets[partition] = start + len(records)

    def restore(self, back: int) -> None:
        """The TaskManager is killed, and the offsets of a checkpoint of before are restored."""
        self._driver = self._world.driver()
        self._offsets = defaultdict(int, {p: max(0, offset - back) for p, offset in self._offsets.items()})

    def copy(self, partition: int) -> None:
        """A second job of the projection runs at the same time."""
        self._receive(self._copy, partition, self._world.topic.partitions[partition])

    def finish(self) -> None:
        for _ in range(4):
            self._world.now_s += IDLE_CHECK_INTERVAL_S
            for partition in range(PARTITIONS):
                self.batch(partition, 1_000)

    def _receive(self, driver: GenerationDriver, partition: int, records: Sequence[ConsumerRecord]) -> None:
        while True:
            try:
                driver.receive({partition: records})
            except ServerUnavailable:
                driver.close()
                continue
            return


@given(schedules)
def test_invariant_4_a_flink_job_loses_and_doubles_nothing(schedule: list[tuple[Any, ...]]) -> None:
    world = World()
    job = FlinkJob(world)
    act: dict[str, Callable[..., None]] = {
        "record": world.record,
        "batch": job.batch,
        "restore": job.restore,
        "copy": job.copy,
        "crash": world.crashes.append,
        "tick": lambda: setattr(world, "now_s", world.now_s + IDLE_CHECK_INTERVAL_S),
    }
    for name, *arguments in schedule:
        act[name](*arguments)
    job.finish()
    assert world.right()


@given(schedules)
def test_runner_rebuild_and_flink_store_the_same_bytes(schedule: list[tuple[Any, ...]]) -> None:
    worlds = [World() for _ in range(3)]
    on_flink, followed, rebuilt = worlds
    for name, *arguments in schedule:
        if name == "record":
            for world in worlds:
                world.record(*arguments)
    job, topic = FlinkJob(on_flink), ScriptedTopic(PARTITIONS)
    runner = StreamFollower(
        SPEED,
        log_port=followed.log,
        consumer=topic,
        sink=followed.sink,
        decode=json.loads,
        partitions=PARTITIONS,
        limits=LIMITS,
    )
    for name, *arguments in schedule:
        if name == "batch":
            job.batch(*arguments)
            topic.batches.append(followed.topic.partitions[arguments[0]][: arguments[1]])
            runner.step(0)
    job.finish()
    for _ in range(3):
        runner.step(0)
        runner.idle_check()
    CatchUp(SPEED, rebuilt.log, rebuilt.sink, json.loads, list(range(64)), LIMITS).run()
    assert on_flink.sink.all_states() == followed.sink.all_states() == rebuilt.sink.all_states()
    assert all(world.right() for world in worlds)


def test_a_recreated_topic_is_read_from_its_start_although_it_is_shorter() -> None:
    world = World()
    job = FlinkJob(world)
    for number in range(40):
        world.record(RIDERS[number % len(RIDERS)], number, published=True)
    job.finish()
    world.topic.partitions.clear()
    for number in range(5):
        world.record(RIDERS[number], 90 + number, published=True)
    job.restore(1_000)
    job.finish()
    assert world.right()


def test_an_idle_partition_misses_no_last_record() -> None:
    world = World()
    job = FlinkJob(world)
    job.finish()
    world.record(RIDERS[0], 1, published=False)
    job.finish()
    assert world.right()
