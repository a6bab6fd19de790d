"""Invariant 16: records and stored fences that no worker of this log wrote are counted, and stop nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identifiers import SHARDS, shard_of
from projections.core.fences import FenceMismatch, FenceStatus, check_fences, fence_mismatch
from projections.core.head_reach import MAX_EARLY
from projections.core.ports import (
    ConsumerRecord,
    Fence,
    LoggedEvent,
    LogHead,
    SinkRejected,
)
from projections.core.records import MAX_NUMBER, ForeignRecord, header_number, logged_event
from projections.live.stream_follower import StreamFollower
from projections.speed import SPEED
from tests.support.ports_in_memory.projection_ports import TOPIC, MemoryLog, MemorySink, ScriptedTopic
from tests.support.worlds.speed_events import expected_states, ping_data
from tests.unit.rebuild.rebuild_world import World as RebuildWorld

T_MS = 1_790_000_000_000
HISTORY = [(f"rider-{number % 7}", number) for number in range(50)]
INT64 = 2**63 - 1


class Int64Log(MemoryLog):
    """Rejects positions that Postgres cannot store, with its message."""

    def events_at(self, positions: Sequence[int]) -> dict[int, LoggedEvent]:
        if any(not -INT64 - 1 <= position <= INT64 for position in positions):
            raise SinkRejected("bigint out of range (22003)")
        return super().events_at(positions)


class World:
    """A worker that follows a log, and a topic that any producer may write to."""

    def __init__(self, history: Sequence[tuple[str, int]] = HISTORY) -> None:
        self.log, self.topic, self.sink = Int64Log(), ScriptedTopic(), MemorySink()
        self.found: list[FenceMismatch] = []
        self.record(history)
        self.runner: StreamFollower[Any] = StreamFollower(
            SPEED,
            log_port=self.log,
            consumer=self.topic,
            sink=self.sink,
            decode=json.loads,
            partitions=8,
            on_fence_mismatch=self.found.append,
        )
        self.runner.step(0)

    def record(self, history: Sequence[tuple[str, int]]) -> list[LoggedEvent]:
        first = len(self.log.events)
        return [
            self.log.append(rider, "GpsPing", ping_data(rider, T_MS + second * 1000, first + number))
            for number, (rider, second) in enumerate(history)
        ]

    def forged(self, key: str, **other: Any) -> LoggedEvent:
        """The next event of the key's shard, as it would be at head + 1."""
        shard, head = shard_of(key), self.log.head("Rider")
        data = json.dumps(ping_data(key, T_MS + 999_000, 10_000)).encode()
        event = LoggedEvent(head.position + 1, shard, head.seqs[shard] + 1, key, 1, "GpsPing", data)
        return event._replace(**other)

    def is_right(self) -> bool:
        seqs = self.log.head("Rider").seqs
        fences_right = all(self.sink.held[shard].seq == seq for shard, seq in enumerate(seqs) if seq)
        return fences_right and self.sink.all_states() == expected_states(self.log.events)

    def settle(self) -> None:
        for _ in range(3):
            self.runner.idle_check()
            self.runner.step(0)


def a_key_of(shard: int) -> str:
    return next(key for number in range(100_000) if shard_of(key := f"forged-{number}") == shard)


def test_regression_one_record_with_position_10_to_the_30_does_not_stop_the_projection() -> None:
    world = World()
    world.topic.deliver([world.forged("rider-1", position=10**30)])
    world.runner.step(0)
    assert world.is_right()
    assert world.runner.counters.foreign == 1
    [news] = world.record([("rider-1", 60)])
    world.topic.deliver([news])
    world.settle()
    assert world.is_right()
    assert (world.runner.counters.foreign, world.runner.counters.resets, world.found) == (1, 0, [])


def test_regression_64_records_at_head_plus_1_make_no_rider_vanish_and_no_log_restored() -> None:
    world = World()
    keys = [a_key_of(shard) for shard in range(SHARDS)]
    world.topic.deliver([world.forged(key) for key in keys])
    before = world.sink.all_states()
    world.runner.step(0)
    assert world.sink.all_states() == before
    world.settle()
    assert world.is_right()
    assert world.runner.counters.foreign == SHARDS
    assert (world.runner.counters.resets, world.found) == (0, [])


def test_a_forged_record_that_the_head_overtakes_is_not_applied_either() -> None:
    world = World()
    world.topic.deliver([world.forged("rider-1")])
    world.runner.step(0)
    # Another event gets the position, and its record has not arrived yet.
    world.record([("rider-1", 60)])
    world.runner.step(0)
    assert world.is_right()
    assert world.runner.counters.foreign == 1


def test_a_true_record_that_comes_before_its_commit_is_visible_is_folded_and_not_foreign() -> None:
    world = World()
    [early] = world.record([("rider-1", 60)])
    head = world.log.head("Rider")
    hidden, world.log.events = world.log.events, world.log.events[:-1]
    world.log._seqs[early.shard] -= 1
    world.topic.deliver([early])
    world.runner.step(0)
    assert world.sink.held[early.shard].seq == early.seq - 1
    world.log.events = hidden
    world.log._seqs[early.shard] += 1
    assert world.log.head("Rider") == head
    world.runner.step(0)
    assert world.is_right()
    assert world.runner.counters.foreign == 0


def test_a_flood_of_records_beyond_the_head_is_bounded() -> None:
    world = World()
    flood = [world.forged("rider-1", position=1_000 + number) for number in range(MAX_EARLY + 50)]
    world.topic.deliver(flood)
    world.runner.step(0)
    assert world.runner.counters.foreign == 50
    world.settle()
    assert world.runner.counters.foreign == len(flood)
    assert world.is_right()


def test_the_head_is_read_once_a_poll_and_only_for_records_beyond_the_known_one() -> None:
    world = World()
    heads = 0

    def head(stream: str) -> LogHead:
        nonlocal heads
        heads += 1
        return MemoryLog.head(world.log, stream)

    world.log.head = head  # type: ignore[method-assign]
    news = world.record([(f"rider-{number % 7}", 60 + number) for number in range(30)])
    world.topic.deliver(news[:20])
    world.runner.step(0)
    world.topic.deliver(news[20:])
    world.runner.step(0)
    assert heads == 1
    assert world.is_right()


def test_a_log_that_rejects_the_numbers_of_a_record_does_not_stop_the_projection() -> None:
    world = World()
    news = world.record([("rider-1", 60)])
    refusals = [SinkRejected("bigint out of range (22003)")]

    def load(keys: Mapping[int, Sequence[str]]) -> dict[int, dict[str, bytes]]:
        if refusals:
            raise refusals.pop()
        return MemorySink.load(world.sink, keys)

    world.sink.load = load  # type: ignore[method-assign]
    world.topic.deliver(news)
    assert world.runner.step(0) == 0
    world.runner.step(0)
    assert world.is_right()


def record(key: bytes = b"rider-1", partition: int | None = None, **headers: Any) -> ConsumerRecord:
    own = {"position": b"9", "seq": b"4", "version": b"2", "eventType": b"GpsPing"} | headers
    at = shard_of(key.decode("utf-8", "replace")) % 8 if partition is None else partition
    return ConsumerRecord(TOPIC, at, 7, key, b"payload", list(own.items()))


NUMBERS = [b"", b"0", b"-1", b"+1", b" 1", b"1_0", b"1.0", b"1e3", b"\xd9\xa1", b"9" * 20, b"9" * 10_000_000]


@pytest.mark.parametrize("name", ["position", "seq", "version"])
@pytest.mark.parametrize("text", [*NUMBERS, str(MAX_NUMBER + 1).encode()], ids=lambda text: repr(text[:12]))
def test_a_number_out_of_bounds_is_foreign(name: str, text: bytes) -> None:
    headers: dict[str, Any] = {name: text}
    with pytest.raises(ForeignRecord):
        logged_event(record(**headers), 8)


def test_a_number_within_bounds_is_read() -> None:
    assert header_number(str(MAX_NUMBER).encode()) == MAX_NUMBER == INT64
    assert logged_event(record(), 8) == LoggedEvent(9, shard_of("rider-1"), 4, "rider-1", 2, "GpsPing", b"payload")


@pytest.mark.parametrize(
    "one",
    [
        record(version=b"5"),
        record(seq=b"10"),
        record(partition=(shard_of("rider-1") + 1) % 8),
        record(key=b""),
        record(key=b"x" * 129),
        record(key=b"a\0b"),
        record(key=b"\xff"),
        record(eventType=b"x" * 129),
        record(eventType=b"\xff"),
    ],
    ids=["version > seq", "seq > position", "partition", "no key", "long key", "NUL", "no UTF-8", "long type", "type"],
)
def test_a_record_with_inconsistent_numbers_is_foreign(one: ConsumerRecord) -> None:
    with pytest.raises(ForeignRecord):
        logged_event(one, 8)


IMPOSSIBLE: list[dict[str, Any]] = [
    {"position": 10**30},
    {"position": INT64},
    {"seq": 10**30, "position": 10**30},
    {"seq": -1},
    {"position": -1},
    {"seq": 40, "position": 3},
]


@pytest.mark.parametrize("other", IMPOSSIBLE, ids=str)
def test_regression_an_invalid_stored_fence_is_a_mismatch_and_the_shard_is_refolded(
    other: dict[str, Any],
) -> None:
    world = World()
    shard = shard_of("rider-1")
    world.sink.held[shard] = world.sink.held[shard]._replace(**other)
    world.sink.states[shard]["rider-1"] = world.sink.states[shard_of("rider-2")]["rider-2"]
    world.settle()
    assert world.is_right()
    assert world.runner.counters.resets == 1
    assert all(found.beyond <= INT64 for found in world.found)


def test_the_mismatch_of_an_invalid_fence_fits_into_int64() -> None:
    log = Int64Log()
    fences: dict[int, Fence | None] = {3: Fence(str(log.log_id), uuid4().hex, 5, 10**30, "digest")}
    judged = check_fences(log, "Rider", fences)
    found = fence_mismatch(judged, fences)
    assert found is not None
    assert found == FenceMismatch(1, FenceStatus.IMPOSSIBLE, INT64, 0)


@pytest.mark.parametrize("other", IMPOSSIBLE, ids=str)
def test_regression_a_rebuild_does_not_hang_on_an_invalid_live_fence(other: dict[str, Any]) -> None:
    world = RebuildWorld(HISTORY)
    world.log.__class__ = Int64Log
    shard = shard_of("rider-1")
    world.sinks[1].held[shard] = world.sinks[1].held[shard]._replace(**other)
    assert world.rebuild(SPEED).run().verdict == "switched"
    assert world.states() == expected_states(world.log.events)


@given(st.data())
def test_invariant_16_no_records_make_a_state_wrong_or_stop_the_worker(data: st.DataObject) -> None:
    """Forged ones among true ones: numbers from around the head, impossible ones, keys of any shard."""
    world = World(HISTORY[:10])
    numbers = st.one_of(st.integers(-1, 25), st.sampled_from([INT64, INT64 + 1, 10**30]))
    keys = st.sampled_from([f"rider-{number}" for number in range(9)])
    for second in range(data.draw(st.integers(1, 6))):
        news = world.record([(data.draw(keys), 100 + second)])
        forged = [
            world.forged(data.draw(keys), position=data.draw(numbers), seq=data.draw(numbers), version=1)
            for _ in range(data.draw(st.integers(0, 3)))
        ]
        world.topic.deliver(data.draw(st.permutations([*news, *forged])))
        world.runner.step(0)
    world.topic.deliver(world.log.events)
    world.settle()
    assert world.is_right()
