"""The runner against a log, a topic and a sink in memory: whatever Kafka does, state and fence are right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identifiers import SHARDS
from projections.core.ports import ConsumerRecord, LoggedEvent, ShardWrite
from projections.core.shard_processor import ProcessorLimits
from projections.live.stream_follower import StreamFollower
from projections.speed import SPEED
from tests.support.ports_in_memory.projection_ports import (
    TOPIC,
    MemoryLog,
    MemorySink,
    ScriptedTopic,
    ServerUnavailable,
)
from tests.support.worlds.speed_events import expected_states, histories, ping_data


def a_log(history: Sequence[tuple[str, int]]) -> MemoryLog:
    log = MemoryLog()
    for number, (rider, second) in enumerate(history):
        log.append(rider, "GpsPing", ping_data(rider, 1_790_000_000_000 + second * 1000, number))
    return log


def a_runner(log: MemoryLog, topic: ScriptedTopic, sink: MemorySink, **limits: int) -> StreamFollower[Any]:
    return StreamFollower(
        SPEED,
        log_port=log,
        consumer=topic,
        sink=sink,
        decode=json.loads,
        partitions=8,
        limits=ProcessorLimits(**limits),
    )


def drain(runner: StreamFollower[Any], topic: ScriptedTopic) -> None:
    runner.step(0)
    while topic.batches:
        runner.step(0)


def right(log: MemoryLog, sink: MemorySink) -> bool:
    seqs = log.head("Rider").seqs
    fences_right = all(sink.held[shard].seq == seq for shard, seq in enumerate(seqs) if seq)
    return fences_right and sink.all_states() == expected_states(log.events)


HISTORY = [(f"rider-{number % 7}", number) for number in range(50)]


def test_a_new_generation_is_folded_from_the_log() -> None:
    log, topic, sink = a_log(HISTORY), ScriptedTopic(), MemorySink()
    drain(a_runner(log, topic, sink), topic)
    assert right(log, sink)


def test_live_records_are_applied_once_and_in_order() -> None:
    log, topic, sink = MemoryLog(), ScriptedTopic(), MemorySink()
    runner = a_runner(log, topic, sink)
    runner.step(0)
    for rider, second in HISTORY:
        log.append(rider, "GpsPing", ping_data(rider, second, second))
    topic.deliver(log.events[:20])
    topic.deliver(log.events[20:])
    drain(runner, topic)
    assert right(log, sink)
    assert runner.counters.applied == len(HISTORY)
    assert (runner.counters.gaps, runner.counters.filled) == (0, 0)


@given(histories, st.data())
def test_invariant_4_lost_doubled_and_reordered_records_change_nothing(
    history: list[tuple[str, int]], data: st.DataObject
) -> None:
    log, topic, sink = MemoryLog(), ScriptedTopic(), MemorySink()
    runner = a_runner(log, topic, sink, fill_events=3, cached_states_per_shard=1)
    runner.step(0)
    for number, (rider, second) in enumerate(history):
        log.append(rider, "GpsPing", ping_data(rider, second * 1000, number))
    for _ in range(data.draw(st.integers(1, 4))):
        topic.deliver(data.draw(st.lists(st.sampled_from(log.events), max_size=40)))
    drain(runner, topic)
    # A lost last record leaves no gap: the second idle check of a shard that does not move finds it.
    runner.idle_check()
    runner.idle_check()
    assert right(log, sink)


@given(histories, st.data())
def test_invariant_4_a_crash_at_any_write_changes_nothing(history: list[tuple[str, int]], data: st.DataObject) -> None:
    log, topic, sink = a_log(history), ScriptedTopic(), MemorySink()
    crashes = data.draw(st.lists(st.booleans(), max_size=8))

    def maybe_crash(writes: Sequence[ShardWrite]) -> None:
        if crashes and crashes.pop():
            if len(writes) > 1:
                sink.before_apply = lambda _: None
                sink.apply(writes[:1])  # the first shard's write was stored, but its response was lost
                sink.before_apply = maybe_crash
            raise ServerUnavailable("killed")

    sink.before_apply = maybe_crash
    runner = a_runner(log, topic, sink, fill_events=5)
    topic.deliver(log.events)
    while crashes:
        try:
            runner.step(0)
        except ServerUnavailable:
            runner = a_runner(log, topic, sink, fill_events=5)
            topic.deliver(log.events[::2])
            continue
        break
    drain(runner, topic)
    assert right(log, sink)


def test_a_zombie_that_wakes_up_overwrites_nothing() -> None:
    log, sink = a_log(HISTORY), MemorySink()
    zombie_topic, topic = ScriptedTopic(), ScriptedTopic()
    zombie, successor = a_runner(log, zombie_topic, sink), a_runner(log, topic, sink)
    zombie.step(0)
    news = [log.append("rider-1", "GpsPing", ping_data("rider-1", 90_000 + n, 1000 + n)) for n in range(3)]
    drain(successor, topic)
    assert right(log, sink)
    log.append("rider-1", "GpsPing", ping_data("rider-1", 99_000, 2000))
    topic.deliver(log.events[-1:])
    drain(successor, topic)
    zombie_topic.deliver(news)
    zombie.step(0)
    assert zombie.counters.lost_races == 1
    # It has no fence of the shard until its next step, and follows it all the same.
    assert (len(zombie.fences()), zombie.shard_count()) == (SHARDS - 1, SHARDS)
    assert right(log, sink)
    zombie.step(0)
    assert right(log, sink)


def test_a_shard_that_waits_for_its_turn_is_not_read_from_the_log() -> None:
    """More is on the topic than is polled at once: what a shard misses comes, and is folded with all the others."""
    log, topic, sink = MemoryLog(), ScriptedTopic(), MemorySink()
    runner = a_runner(log, topic, sink, poll_records=10)
    runner.step(0)
    for number in range(30):
        log.append("waits" if number >= 20 else "comes first", "GpsPing", ping_data("r", number * 1000, number))
    for first in (0, 10):
        topic.deliver(log.events[first : first + 10])
        runner.step(0)
        runner.idle_check()
    assert (runner.counters.applied, runner.counters.filled) == (20, 0)
    # Now nothing more is there, and still it has not come: it is lost.
    runner.step(0)
    runner.idle_check()
    runner.idle_check()
    assert (runner.counters.applied, runner.counters.filled) == (30, 10)
    assert right(log, sink)


def test_an_emptied_sink_is_folded_anew_though_nothing_new_comes() -> None:
    log, topic, sink = a_log(HISTORY), ScriptedTopic(), MemorySink()
    runner = a_runner(log, topic, sink)
    drain(runner, topic)
    sink.states.clear()
    sink.held.clear()
    runner.idle_check()
    assert right(log, sink)


def test_a_sink_rewound_to_an_older_dump_is_brought_forward() -> None:
    log, topic, sink = a_log(HISTORY), ScriptedTopic(), MemorySink()
    runner = a_runner(log, topic, sink)
    drain(runner, topic)
    dump = ({shard: dict(states) for shard, states in sink.states.items()}, dict(sink.held))
    for number in range(20):
        topic.deliver([log.append("rider-3", "GpsPing", ping_data("rider-3", 99_000 + number, 99 + number))])
    drain(runner, topic)
    sink.states.clear()
    sink.states.update(dump[0])
    sink.held = dump[1]
    topic.deliver([log.append("rider-3", "GpsPing", ping_data("rider-3", 199_000, 199))])
    drain(runner, topic)  # its compare-and-set is lost
    drain(runner, topic)
    assert right(log, sink)


@pytest.mark.parametrize("position", [0, 1, 25, 49])
def test_invariant_14_a_fence_beyond_the_head_is_a_mismatch(position: int) -> None:
    log, topic, sink = a_log(HISTORY), ScriptedTopic(), MemorySink()
    drain(a_runner(log, topic, sink), topic)
    older = log.restored_to(position)
    runner = a_runner(older, topic, sink)
    drain(runner, topic)
    assert runner.counters.resets > 0
    assert sink.all_states() == expected_states(older.events)


def test_invariant_14_a_fence_of_another_log_is_a_mismatch() -> None:
    log, topic, sink = a_log(HISTORY), ScriptedTopic(), MemorySink()
    drain(a_runner(a_log(HISTORY * 2), topic, sink), topic)
    runner = a_runner(log, topic, sink)
    drain(runner, topic)
    assert right(log, sink)


def test_a_foreign_record_on_the_topic_is_counted_and_passed_over() -> None:
    log, topic, sink = a_log(HISTORY), ScriptedTopic(), MemorySink()
    runner = a_runner(log, topic, sink)
    topic.batches.append([ConsumerRecord(TOPIC, 0, 1, b"x", b"junk", [])])
    drain(runner, topic)
    assert runner.counters.foreign == 1
    assert right(log, sink)


def test_shards_of_revoked_partitions_are_left_alone() -> None:
    log, topic, sink = MemoryLog(), ScriptedTopic(), MemorySink()
    runner = a_runner(log, topic, sink)
    runner.step(0)
    topic.assigned = {}
    topic.deliver([log.append("rider-1", "GpsPing", ping_data("rider-1", 1))])
    runner.step(0)
    assert sink.all_states() == {}
    topic.assigned = dict.fromkeys(range(8), 2)
    runner.step(0)
    assert right(log, sink)


def test_a_partition_that_was_away_is_caught_up_from_the_log() -> None:
    log, topic, sink = a_log(HISTORY), ScriptedTopic(), MemorySink()
    runner = a_runner(log, topic, sink)
    runner.step(0)
    log.append("rider-1", "GpsPing", ping_data("rider-1", 99_000, 99))
    topic.assigned = dict.fromkeys(range(8), 2)  # revoked and assigned again between two polls
    runner.step(0)
    assert right(log, sink)


def test_a_gap_whose_events_are_not_visible_yet_waits() -> None:
    log, topic, sink = MemoryLog(), ScriptedTopic(), MemorySink()
    runner = a_runner(log, topic, sink)
    runner.step(0)
    events = [log.append("rider-1", "GpsPing", ping_data("rider-1", n, n)) for n in range(3)]
    hidden: list[LoggedEvent] = [log.events.pop(), log.events.pop(), log.events.pop()]
    topic.deliver(events[2:])
    runner.step(0)
    assert sink.all_states() == {}
    log.events += reversed(hidden)
    runner.idle_check()
    runner.idle_check()
    assert right(log, sink)


def test_commit_tells_kafka_the_next_offsets() -> None:
    log, topic, sink = MemoryLog(), ScriptedTopic(), MemorySink()
    runner = a_runner(log, topic, sink)
    runner.step(0)
    event = log.append("rider-1", "GpsPing", ping_data("rider-1", 1))
    topic.deliver([event])
    runner.step(0)
    runner.commit()
    assert topic.committed == {event.shard % 8: 2}


def test_a_commit_says_only_what_was_read_since_the_last_one() -> None:
    log, topic, sink = MemoryLog(), ScriptedTopic(), MemorySink()
    runner = a_runner(log, topic, sink)
    runner.step(0)
    for number, rider in enumerate(("rider-1", "rider-2")):
        topic.committed.clear()
        runner.commit()
        assert topic.committed == {}
        event = log.append(rider, "GpsPing", ping_data(rider, number, number))
        topic.deliver([event])
        runner.step(0)
        runner.commit()
        assert topic.committed == {event.shard % 8: number + 2}


def test_what_was_read_before_an_error_is_not_committed() -> None:
    log, topic, sink = MemoryLog(), ScriptedTopic(), MemorySink()
    runner = a_runner(log, topic, sink)
    runner.step(0)
    topic.deliver([log.append("rider-1", "GpsPing", ping_data("rider-1", 1))])
    runner.step(0)

    def unavailable(writes: Sequence[ShardWrite]) -> None:
        raise ServerUnavailable("for a moment")

    sink.before_apply = unavailable
    topic.deliver([log.append("rider-1", "GpsPing", ping_data("rider-1", 2))])
    with pytest.raises(ServerUnavailable):
        runner.step(0)
    runner.commit()
    assert topic.committed == {}
