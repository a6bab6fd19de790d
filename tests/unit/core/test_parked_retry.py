"""A parked key whose cause is repaired ends up as if it had never failed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.core.parked_keys import DETACHED, MAX_EVENTS_PER_ATTEMPT, MAX_FENCE_CONFLICTS
from projections.core.ports import FenceConflict, ShardWrite
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink, ScriptedTopic
from tests.support.worlds.retries import Registry, a_log, a_runner, parking
from tests.support.worlds.speed_events import expected_states, histories, ping_data

HISTORY = [(f"rider-{number % 7}", number) for number in range(60)]


def test_after_the_fix_the_state_is_as_if_it_had_never_failed() -> None:
    log, sink, registry = a_log(HISTORY), MemorySink(), Registry({15})
    a_runner(log, sink, registry.decode).step(0)
    assert list(sink.all_parked()) == ["rider-1"]
    registry.unknown.clear()
    done = parking(log, sink, registry.decode).retry("rider-1")
    assert (done.verdict, done.events) == ("unparked", 7)
    assert sink.all_parked() == {}
    assert sink.all_states() == expected_states(log.events)


def test_pings_after_the_retry_are_folded_by_the_worker_whose_cache_has_the_key_parked() -> None:
    log, sink, registry, topic = a_log(HISTORY), MemorySink(), Registry({15}), ScriptedTopic()
    runner = a_runner(log, sink, registry.decode, topic)
    runner.step(0)
    registry.unknown.clear()
    parking(log, sink, registry.decode).retry("rider-1")
    for number in (60, 61):
        topic.deliver([log.append("rider-1", "GpsPing", ping_data("rider-1", 99_000, number, serial=number))])
        runner.step(0)
    runner.step(0)
    assert sink.all_states() == expected_states(log.events)


def test_pings_that_arrive_during_the_retry_are_not_lost() -> None:
    log, sink, registry, topic = a_log(HISTORY), MemorySink(), Registry({15}), ScriptedTopic()
    runner = a_runner(log, sink, registry.decode, topic)
    runner.step(0)
    registry.unknown.clear()
    moves = [60, 61, 62]

    def the_worker_is_quicker(writes: Sequence[ShardWrite]) -> None:
        if moves and any("rider-1" in write.parked for write in writes):
            number = moves.pop()
            topic.deliver([log.append("rider-1", "GpsPing", ping_data("rider-1", 99_000, number, serial=number))])
            runner.step(0)

    sink.before_apply = the_worker_is_quicker
    assert parking(log, sink, registry.decode).retry("rider-1").verdict == "unparked"
    assert not moves
    runner.step(0)
    runner.idle_check()
    assert sink.all_states() == expected_states(log.events)


def test_a_retry_that_meets_a_later_failure_parks_the_key_there() -> None:
    log, sink, registry = a_log(HISTORY), MemorySink(), Registry({15, 36})
    a_runner(log, sink, registry.decode).step(0)
    registry.unknown.remove(15)
    done = parking(log, sink, registry.decode).retry("rider-1")
    assert (done.verdict, done.events) == ("still", 3)
    assert sink.all_parked()["rider-1"].position == 37
    registry.unknown.clear()
    parking(log, sink, registry.decode).retry("rider-1")
    assert sink.all_states() == expected_states(log.events)


@pytest.mark.parametrize("attached_from", [17, 61], ids=["a part of its events", "none of its events"])
def test_a_key_whose_events_are_in_a_detached_partition_stays_parked(attached_from: int) -> None:
    log, sink, registry = a_log(HISTORY), MemorySink(), Registry({15})
    a_runner(log, sink, registry.decode).step(0)
    registry.unknown.clear()
    before, whole = (sink.all_states(), sink.all_parked()), list(log.events)
    log.events = [event for event in whole if event.position >= attached_from]
    done = parking(log, sink, registry.decode).retry("rider-1")
    assert (done.verdict, done.events) == ("still", 0)
    assert done.parked is not None
    assert (done.parked.position, done.parked.reason) == (16, DETACHED)
    assert (sink.all_states(), sink.all_parked()) == before
    log.events = whole
    assert parking(log, sink, registry.decode).retry("rider-1").verdict == "unparked"
    assert sink.all_states() == expected_states(log.events)


def test_a_discarded_event_is_skipped_and_the_following_ones_are_folded() -> None:
    log, sink, registry = a_log(HISTORY), MemorySink(), Registry({15})
    a_runner(log, sink, registry.decode).step(0)
    log.discards = {16}
    assert parking(log, sink, registry.decode).retry("rider-1").verdict == "unparked"
    assert sink.all_states() == expected_states([e for e in log.events if e.position != 16])
    rebuilt = MemorySink()
    a_runner(log, rebuilt, registry.decode).step(0)
    assert rebuilt.all_states() == sink.all_states()


def test_a_key_that_is_not_parked_is_left_alone() -> None:
    log, sink, registry = a_log(HISTORY), MemorySink(), Registry(set())
    a_runner(log, sink, registry.decode).step(0)
    before = (sink.all_states(), dict(sink.held))
    assert parking(log, sink, registry.decode).retry("rider-1").verdict == "none"
    assert parking(log, sink, registry.decode).retry("nobody").verdict == "none"
    assert (sink.all_states(), sink.held) == before


def test_a_retry_with_a_fence_conflict_at_every_attempt_ends_with_an_error() -> None:
    log, sink, registry = a_log(HISTORY), MemorySink(), Registry({15})
    a_runner(log, sink, registry.decode).step(0)
    tries = 0

    def always_quicker(writes: Sequence[ShardWrite]) -> None:
        nonlocal tries
        tries += 1
        fence = sink.held[writes[0].shard]
        sink.held[writes[0].shard] = fence._replace(incarnation=f"another {tries}")

    sink.before_apply = always_quicker
    with pytest.raises(FenceConflict):
        parking(log, sink, registry.decode).retry("rider-1")
    assert tries == MAX_FENCE_CONFLICTS


def test_regression_a_key_with_a_long_backlog_is_folded_in_parts() -> None:
    """As one part, every attempt lost the fence to the next batch of the shard."""
    history = [("rider-1", second) for second in range(3 * MAX_EVENTS_PER_ATTEMPT)]
    log, sink, registry, topic = a_log(history), MemorySink(), Registry({0}), ScriptedTopic()
    runner = a_runner(log, sink, registry.decode, topic)
    runner.step(0)
    registry.unknown.clear()
    folded = 0

    def decode(payload: bytes) -> Mapping[str, Any]:
        nonlocal folded
        folded += 1
        return registry.decode(payload)

    def batches_come_all_the_time(writes: Sequence[ShardWrite]) -> None:
        nonlocal folded
        if "rider-1" in writes[0].parked and folded > MAX_EVENTS_PER_ATTEMPT:
            serial = len(log.events)
            topic.deliver([log.append("rider-1", "GpsPing", ping_data("rider-1", 0, serial, serial=serial))])
            runner.step(0)
        folded = 0

    sink.before_apply = batches_come_all_the_time
    done = parking(log, sink, decode).retry("rider-1")
    assert (done.verdict, done.events) == ("unparked", len(history))
    assert sink.all_states() == expected_states(log.events)


def test_an_aborted_retry_resumes_where_it_stopped() -> None:
    log, sink, registry = (
        a_log([("rider-1", second) for second in range(2 * MAX_EVENTS_PER_ATTEMPT + 5)]),
        MemorySink(),
        Registry({0}),
    )
    a_runner(log, sink, registry.decode).step(0)
    registry.unknown.clear()
    parts = 0

    def killed_at_the_second(writes: Sequence[ShardWrite]) -> None:
        nonlocal parts
        parts += 1
        if parts == 2:
            raise KeyboardInterrupt

    sink.before_apply = killed_at_the_second
    with pytest.raises(KeyboardInterrupt):
        parking(log, sink, registry.decode).retry("rider-1")
    mark = sink.all_parked()["rider-1"]
    assert (mark.version, mark.position) == (MAX_EVENTS_PER_ATTEMPT + 1, MAX_EVENTS_PER_ATTEMPT + 1)
    assert "parked retry" in mark.reason
    done = parking(log, sink, registry.decode).retry("rider-1")
    assert (done.verdict, done.events) == ("unparked", MAX_EVENTS_PER_ATTEMPT + 5)
    assert sink.all_states() == expected_states(log.events)


@given(histories, st.sets(st.integers(0, 59), max_size=6), st.data())
def test_invariant_10_retries_at_any_time_end_as_if_nothing_had_failed(
    history: list[tuple[str, int]], unknown: set[int], data: st.DataObject
) -> None:
    log, sink, registry, topic = MemoryLog(), MemorySink(), Registry(set(unknown)), ScriptedTopic()
    runner = a_runner(log, sink, registry.decode, topic)
    runner.step(0)
    source = a_log(history).events
    while source:
        count = data.draw(st.integers(1, len(source)))
        batch, source = source[:count], source[count:]
        topic.deliver([log.append(e.key, e.event_type, json.loads(e.payload)) for e in batch])
        runner.step(0)
        if registry.unknown:
            registry.unknown.remove(data.draw(st.sampled_from(sorted(registry.unknown))))
        for key in data.draw(st.lists(st.sampled_from(sorted({e.key for e in log.events})), max_size=3)):
            parking(log, sink, registry.decode).retry(key)
    registry.unknown.clear()
    for key in list(sink.all_parked()):
        parking(log, sink, registry.decode).retry(key)
    runner.step(0)
    runner.idle_check()
    runner.idle_check()
    assert sink.all_parked() == {}
    assert sink.all_states() == expected_states(log.events)
