"""One step and one idle check of a worker: what is polled, sought, counted, and read from the log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from domain.identifiers import shard_of
from projections.core import refolds
from projections.core.ports import ConsumerRecord, LoggedEvent, SinkRejected
from projections.core.shard_processor import ProcessorLimits
from projections.live.stream_follower import StreamFollower
from projections.speed import SPEED
from tests.support.ports_in_memory.projection_ports import TOPIC, MemoryLog, MemorySink, ScriptedTopic
from tests.support.worlds.speed_events import expected_states, ping_data

T_MS = 1_790_000_000_000
PARTITIONS = 8
ANNA, BEN = "rider-1", "rider-2"
A, B = shard_of(ANNA), shard_of(BEN)
assert A % PARTITIONS != B % PARTITIONS


class NotedTopic(ScriptedTopic):
    """Notes what is polled and sought."""

    def __init__(self) -> None:
        super().__init__(PARTITIONS)
        self.polls: list[tuple[int, float]] = []
        self.sought: list[list[int]] = []

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
        self.polls.append((max_records, timeout_s))
        return super().poll(max_records, timeout_s)

    def seek_to_end(self, partitions: Sequence[int]) -> None:
        self.sought.append(sorted(partitions))
        super().seek_to_end(partitions)


class Setup:
    """A worker that has been assigned all partitions of an empty log."""

    def __init__(self, poll_records: int = 100) -> None:
        self.log, self.topic, self.sink = MemoryLog(), NotedTopic(), MemorySink()
        self.worker = StreamFollower(
            SPEED,
            log_port=self.log,
            consumer=self.topic,
            sink=self.sink,
            decode=json.loads,
            partitions=PARTITIONS,
            limits=ProcessorLimits(poll_records=poll_records, fill_events=3),
        )
        self.worker.step(0)
        self.topic.polls.clear()

    def record(self, *riders: str) -> list[LoggedEvent]:
        first = len(self.log.events)
        return [
            self.log.append(rider, "GpsPing", ping_data(rider, T_MS + number * 1000, number))
            for number, rider in enumerate(riders, first)
        ]

    def follow(self, *riders: str) -> int:
        self.topic.deliver(self.record(*riders))
        return self.worker.step(0)

    def applied(self) -> dict[str, int]:
        """The number of pings in the state of each key."""
        return {key: SPEED.decode(state).pings for key, state in self.sink.all_states().items()}

    def is_right(self) -> bool:
        return self.sink.all_states() == expected_states(self.log.events)


def test_a_step_returns_how_many_events_it_has_applied_itself() -> None:
    setup = Setup()
    assert [setup.follow(ANNA, BEN, ANNA), setup.follow(BEN), setup.worker.step(0)] == [3, 1, 0]
    assert setup.worker.counters.applied == 4


def test_an_idle_check_returns_how_many_events_it_has_applied_itself() -> None:
    setup = Setup()
    setup.follow(ANNA, BEN)
    setup.record(ANNA, ANNA)
    assert [setup.worker.idle_check() for _ in range(3)] == [0, 2, 0]


def test_a_poll_takes_as_many_records_and_as_long_as_the_worker_says() -> None:
    setup = Setup(poll_records=7)
    setup.worker.step(0.2)
    setup.worker.step(1.5)
    assert setup.topic.polls == [(7, 0.2), (7, 1.5)]


def test_a_worker_with_a_refold_to_do_does_not_wait_for_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refolds, "MAX_EVENTS_PER_STEP", 2)
    setup = Setup()
    setup.follow(*[ANNA] * 6)
    setup.sink.held[A] = setup.sink.held[A]._replace(event="forged")
    setup.worker.idle_check()
    setup.topic.polls.clear()
    for _ in range(4):
        setup.worker.step(0.2)
    assert [timeout_s for _, timeout_s in setup.topic.polls] == [0, 0, 0.2, 0.2]
    assert setup.is_right()


def test_only_partitions_that_are_new_are_sought_and_opened() -> None:
    """A shard that the worker keeps is not read again when its neighbour's partition comes or goes."""
    setup = Setup()
    setup.follow(ANNA, BEN)
    opened: list[list[int]] = []
    fences = setup.sink.fences

    def noted(shards: Sequence[int]) -> list[Any]:
        opened.append(list(shards))
        return fences(shards)

    setup.sink.fences = noted  # type: ignore[method-assign]
    setup.topic.sought.clear()
    lost = {A % PARTITIONS}
    setup.topic.assigned = {p: 1 for p in range(PARTITIONS) if p not in lost}
    setup.worker.step(0)
    assert set(setup.worker.fences()) == {shard for shard in range(64) if shard % PARTITIONS not in lost}
    assert not any(opened)
    setup.topic.assigned = dict.fromkeys(setup.topic.assigned, 1) | dict.fromkeys(lost, 2)
    setup.worker.step(0)
    assert set(setup.worker.fences()) == set(range(64))
    assert [one for one in setup.topic.sought if one] == [sorted(lost)]
    assert {shard % PARTITIONS for shards in opened for shard in shards} == lost


def test_a_record_of_another_workers_partition_is_passed_over_and_those_after_it_are_not() -> None:
    setup = Setup()
    setup.topic.assigned = {p: 1 for p in range(PARTITIONS) if p != A % PARTITIONS}
    setup.worker.step(0)
    assert setup.follow(ANNA, BEN) == 1
    assert setup.applied() == {BEN: 1}
    assert setup.worker.counters.foreign == 0


def test_foreign_records_are_counted_over_all_polls() -> None:
    setup = Setup()
    junk = ConsumerRecord(TOPIC, 0, 1, b"x", b"junk", [])
    for count in (2, 3):
        setup.topic.batches.append([junk] * count + [setup.topic.record(one) for one in setup.record(BEN)])
        assert setup.worker.step(0) == 1
    assert setup.worker.counters.foreign == 5


def test_records_that_a_server_rejects_are_counted_as_foreign_and_read_from_the_log() -> None:
    setup = Setup()
    load, refusals = setup.sink.load, 2

    def refuse(keys: Mapping[int, Sequence[str]]) -> dict[int, dict[str, bytes]]:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise SinkRejected("bigint out of range")
        return load(keys)

    setup.sink.load = refuse  # type: ignore[method-assign]
    assert setup.follow(ANNA) == 0
    assert setup.worker.counters.foreign == 1
    setup.topic.deliver([*setup.record(BEN, BEN)])
    # The shards are opened and read from the log without any record: there is none to skip.
    setup.topic.batches.insert(0, [])
    with pytest.raises(SinkRejected):
        setup.worker.step(0)
    setup.worker.step(0)
    setup.worker.step(0)
    assert setup.is_right()


def test_a_shard_that_is_behind_is_read_from_the_log_at_the_second_idle_check() -> None:
    """At the first one its records may still be on their way."""
    setup = Setup()
    setup.follow(ANNA)
    setup.worker.idle_check()
    setup.record(ANNA)
    setup.worker.idle_check()
    assert setup.applied() == {ANNA: 1}
    setup.worker.idle_check()
    assert setup.applied() == {ANNA: 2}


def test_a_shard_that_moves_between_two_idle_checks_is_not_read_from_the_log() -> None:
    setup = Setup()
    setup.follow(ANNA)
    first, _second = setup.record(ANNA, ANNA)
    setup.worker.idle_check()
    setup.topic.deliver([first])
    setup.worker.step(0)
    setup.worker.idle_check()
    assert (setup.applied(), setup.worker.counters.filled) == ({ANNA: 2}, 0)
    setup.worker.idle_check()
    assert (setup.applied(), setup.worker.counters.filled) == ({ANNA: 3}, 1)


def test_a_shard_that_was_behind_and_caught_up_starts_over() -> None:
    setup = Setup()
    [one] = setup.record(ANNA)
    setup.worker.idle_check()
    setup.topic.deliver([one])
    setup.worker.step(0)
    setup.worker.idle_check()
    setup.record(ANNA)
    setup.worker.idle_check()
    assert setup.applied() == {ANNA: 1}
