"""Projections on Flink through every fault of a cluster: states, rows and topic are the runner's and the replay's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from kafka import TopicPartition

from infrastructure.backends import Backends
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.kafka.admin import admin
from infrastructure.kafka.topics import topics
from infrastructure.operations.rebuild import FoldInProcesses
from infrastructure.settings.settings import Settings
from projections.catalogue import PROJECTIONS
from projections.core.ports import PortUnavailable
from projections.locations import LOCATIONS
from tests.support.faults import sinks
from tests.support.faults.world import frozen, pause
from tests.support.postgres.many_events import many_events
from tests.support.reports.proofs import whole
from tests.support.servers.flink_cluster import missing_environment
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually
from tests.support.worlds.accounting import Identity, account_for
from tests.support.worlds.flink_on_servers import (
    WITHIN_S,
    FlinkOnServers,
    behind,
    dumps,
    flink_on_servers,
)
from tests.support.worlds.locations import location, read_records
from tests.support.worlds.steady_load import BackgroundThread

EVENTS = int(os.environ.get("RIDELOG_TEST_FLINK_EVENTS", "1000000"))
"""Events at least: the load goes on until the last fault is over."""
NAMES = ("speed", "analytics", "locations")
"""A projection in Redis, one in tables of Postgres, and one that is published to a compacted topic."""
RIDERS = max(400, EVENTS // 50)
CHUNK = min(2_000, EVENTS // 200)
MAX_BEHIND = 10 * CHUNK
"""Events that the load is ahead of Flink, at most, while Flink folds."""
LONGEST_PAUSE_S = 2.0
"""While a fault stops Flink, a chunk of the load comes after this time: each fault meets events that come."""
RUNNERS, REPLAYED = 2, 3
"""Generations that the runner follows, and that a replay of the log fills at the end."""
FAULTS = (
    "Python worker killed",
    "TaskManager killed",
    "Redis set back",
    "topic truncated",
    "second copy of each job",
    "JobManager killed",
    "older checkpoint restored",
)
"""In this order, each at a random instant of its part of the load."""
PART = EVENTS // (len(FAULTS) + 1)


class RecordedLoad(BackgroundThread):
    """Records pings straight in the event store, until ``end_after`` is called. Flink's lag slows it down."""

    def __init__(self, world: FlinkOnServers, backends: Backends) -> None:
        super().__init__("recorded load")
        self._recorder = EventRecorder(world.engine)
        self._codec = backends.codec
        self._backends = backends
        self._names = world.names
        self._last: int | None = None
        self.identities: set[Identity] = set()
        self.recorded = 0

    def run(self) -> None:
        while not self.stopping and self.recorded != self._last:
            count = CHUNK if self._last is None else min(CHUNK, self._last - self.recorded)
            events = many_events(self._codec, count, RIDERS, first=self.recorded)
            self._recorder.insert_events(events)
            self.identities |= {(event.aggregate_key, event.event_time_ms, str(event.event_id)) for event in events}
            self.recorded += count
            self._wait_for_flink()

    def end_after(self, count: int) -> int:
        """Record ``count`` more events at least, and EVENTS in all; wait for them. Returns how many it were in all."""
        self._last = max(EVENTS, self.recorded + max(count, 2 * CHUNK))
        self.wait_for(self._last)
        return self.recorded

    def _wait_for_flink(self) -> None:
        """Wait until Flink is less than MAX_BEHIND, but no longer than LONGEST_PAUSE_S."""
        until = time.monotonic() + LONGEST_PAUSE_S
        for _ in self.every(0.2):
            if self._behind() < MAX_BEHIND or time.monotonic() > until:
                return

    def _behind(self) -> int:
        try:
            return max(behind(self._backends, name) for name in self._names)
        except PortUnavailable:
            return MAX_BEHIND  # a fault has stopped the store that would tell

    def wait_for(self, count: int) -> None:
        """Wait until ``count`` events are recorded. Raises AssertionError if none comes any more."""
        while (before := self.recorded) < count:
            eventually(lambda: self.recorded > before or self.ended, within_s=60, every_s=0.2, what="the load goes on")
            assert not self.ended or self.recorded >= count, "the load has ended before its time"


class Jobs:
    """The jobs of the world's projections, and what is done to them."""

    def __init__(self, world: FlinkOnServers, chance: Random) -> None:
        self._world = world
        self._chance = chance
        self._ids: dict[str, str] = {}
        self._copies: list[str] = []

    def start(self) -> None:
        """Submit each job; returns once both TaskManagers have subtasks."""
        world = self._world
        self._submit(world.names)
        eventually(
            lambda: len(world.busy_taskmanagers()) == len(world.taskmanagers),
            within_s=WITHIN_S,
            what="each TaskManager has subtasks",
        )

    def inject(self, fault: str) -> None:
        """Inject one of FAULTS; returns when its cause is over."""
        world, speed = self._world, NAMES[0]
        if fault in ("Python worker killed", "TaskManager killed"):
            restarts = self._restarts()
            (world.kill_python_worker if fault == "Python worker killed" else world.kill_taskmanager)(self._chance)
            eventually(
                lambda: self._restarts() > restarts and self._run(), within_s=WITHIN_S, every_s=1.0, what="jobs restart"
            )
        elif fault == "Redis set back":
            sinks.rewind(world, self._chance)
        elif fault == "topic truncated":
            self._truncate()
        elif fault == "second copy of each job":
            self._copies = world.submit_copies(world.names)
            for job_id in self._copies:
                world.wait_running(job_id)
        elif fault == "JobManager killed":
            newest = world.wait_checkpoint(speed)
            self._copies.clear()
            world.kill_jobmanager()
            self._submit([speed], "--restore", newest)
            self._submit([name for name in world.names if name != speed])
        elif fault == "older checkpoint restored":
            oldest = world.wait_older_checkpoint(self._ids[speed])
            world.cancel(self._ids[speed])
            self._submit([speed], "--restore", oldest)
        else:
            raise ValueError(fault)

    def end(self) -> None:
        """Cancel everything."""
        for job_id in (*self._copies, *self._ids.values()):
            self._world.cancel(job_id)

    def _submit(self, names: Sequence[str], *options: str) -> None:
        submitted = self._world.submit(names, *options)
        self._ids |= submitted
        for job_id in submitted.values():
            self._world.wait_running(job_id)

    def _restarts(self) -> int:
        """By Flink's own count, which it reads every ten seconds."""
        return sum(job.restarts for job in self._world.cluster.jobs())

    def _run(self) -> bool:
        return all(job.runs for job in self._world.cluster.jobs())

    def _truncate(self) -> None:
        """Delete all records of the topic, those too that no subtask has read."""
        settings = self._world.settings
        with frozen(self._world.taskmanager_pids()):
            pause(1.0)
            with admin(self._world.kafka.url) as client:
                topic = topics(settings)["Rider"]
                ends = {TopicPartition(topic, number): -1 for number in range(settings.topic_partitions)}
                client.delete_records(ends, timeout_ms=10_000)


@contextmanager
def runner(settings: Settings) -> Iterator[None]:
    """The runner's own workers on generation RUNNERS, for as long as the block lasts."""
    command = [sys.executable, "-m", "tests.support.worlds.second_generation", str(RUNNERS), *NAMES]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings.environment()})
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.proof
@pytest.mark.skipif(not whole(), reason="a cluster next to a service takes longer than a test may: make prove")
@pytest.mark.timeout(7_200)
def test_invariants_1_to_4_hold_on_flink_through_every_fault_of_its_cluster(
    tmp_path: Path, kafka_jars: Path, record_property: Callable[[str, object], None]
) -> None:
    """A million events; RIDELOG_TEST_FLINK_EVENTS is another number."""
    if (lacking := missing_environment()) is not None:
        pytest.skip(lacking)
    chance = Random("flink")
    with (
        flink_on_servers(tmp_path, kafka_jars, NAMES) as world,
        Backends(world.settings) as backends,
    ):
        for name in NAMES:
            backends.generations.first(PROJECTIONS[name])
            assert backends.generations.begin(PROJECTIONS[name]).number == RUNNERS
        jobs = Jobs(world, chance)
        jobs.start()
        began = time.monotonic()
        with runner(world.settings):
            with RecordedLoad(world, backends) as load:
                for number, fault in enumerate(FAULTS):
                    load.wait_for(max(load.recorded, PART * number) + chance.randrange(1, PART))
                    first = load.recorded
                    jobs.inject(fault)
                    record_property(fault, f"{load.recorded - first:,} events came from event {first:,} on")
                    # It has met events that came, and others come after it.
                    load.wait_for(load.recorded + CHUNK)
                recorded = load.end_after(PART // 2)
            wait_whole(backends, 1)
            record_property("whole after s", round(time.monotonic() - began))
            account = account_for(world.ridelog, load.identities)
            assert account.events == recorded >= EVENTS
            wait_whole(backends, RUNNERS)
        jobs.end()
        check_same(world, backends, record_property)
    record_property("events", f"{recorded:,}, lost 0, double 0")


def wait_whole(backends: Backends, generation: int) -> None:
    """Wait until ``generation`` of every projection has folded every event."""

    def left() -> int:
        return sum(behind(backends, name, generation) for name in NAMES)

    eventually(lambda: not left(), within_s=WITHIN_S, every_s=0.5, what=f"generations {generation} are whole")


def check_same(world: FlinkOnServers, backends: Backends, record_property: Callable[[str, object], None]) -> None:
    """Flink's generation has every byte of the runner's and of a replay, and the topic those of its states."""
    head = backends.log.head("Rider")
    for name in NAMES:
        projection = PROJECTIONS[name]
        FoldInProcesses(world.settings, projection, 2).fill(REPLAYED, dict(enumerate(head.seqs)), lambda: None)
        folded, runners, replayed = (dumps(backends, name, number) for number in (1, RUNNERS, REPLAYED))
        assert folded == replayed
        assert runners == replayed
        states, rows = (sum(len(getattr(dump, part)) for dump in folded) for part in ("states", "rows"))
        record_property(f"{name}, byte for byte", f"{states:,} states, {rows:,} rows")
    folded_locations, publication = dumps(backends, LOCATIONS.name, 1), LOCATIONS.publication
    assert publication is not None
    shown = highest_values(read_records(world.kafka.url, publication.topic))
    wanted: dict[str, bytes] = {}
    for dump in folded_locations:
        for key, state in dump.states.items():
            if (values := publication.values(key, LOCATIONS.decode(state))) is not None:
                wanted[key] = backends.codec.encode(publication.record, values)
    assert shown == wanted
    record_property("topic, byte for byte", f"{len(shown):,} keys")


def highest_values(records: list[tuple[bytes, bytes]]) -> dict[str, bytes]:
    """The value with the highest position of each key, which is what a reader of the topic keeps."""
    kept: dict[str, tuple[int, bytes]] = {}
    for key, value in records:
        position = location(value)["position"]
        if position >= kept.get(key.decode(), (0, b""))[0]:
            kept[key.decode()] = (position, value)
    return {key: value for key, (_, value) in kept.items()}
