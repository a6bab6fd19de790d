"""Invariant 10: one bad event stops one key, not the projection."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events.contracts import UndecodableError
from domain.features.keyed_event import KeyedEvent
from domain.features.speed.window import SpeedState
from domain.identifiers import shard_of
from projections.core.ports import PortUnavailable, ShardWrite, SinkRejected
from projections.core.shard_processor import ProcessorLimits
from projections.core.shard_writer import MAX_PARKED_PER_SHARD, BrokenFold
from projections.live.stream_follower import StreamFollower
from projections.speed import SPEED
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink, ScriptedTopic
from tests.support.worlds.speed_events import expected_states, histories, ping_data


def failing_fold(state: SpeedState, event: KeyedEvent) -> SpeedState:
    """A fold with a fault: it raises for an event with ``poison``."""
    if event.data.get("poison"):
        raise ZeroDivisionError("a fault of the fold")
    return SPEED.fold(state, event)


FAULTY = replace(SPEED, fold=failing_fold)


def decode(payload: bytes) -> Mapping[str, Any]:
    if payload.startswith(b"garbage"):
        raise UndecodableError("no contract reads this")
    data = json.loads(payload)
    assert isinstance(data, dict)
    return data


def a_log(history: Sequence[tuple[str, int]], poison: set[int] = frozenset()) -> MemoryLog:  # type: ignore[assignment]
    log = MemoryLog()
    for number, (rider, second) in enumerate(history):
        log.append(rider, "GpsPing", ping_data(rider, second * 1000, number, poison=number in poison))
    return log


def a_runner(log: MemoryLog, topic: ScriptedTopic, sink: MemorySink, projection: Any = FAULTY) -> StreamFollower[Any]:
    return StreamFollower(projection, log_port=log, consumer=topic, sink=sink, decode=decode, partitions=8)


def before_the_first_failure(log: MemoryLog, bad: set[int]) -> dict[str, bytes]:
    """The states if every key with an event at a bad position stops just before the first of them."""
    stopped = {event.key: event.version for event in reversed(log.events) if event.position in bad}
    return expected_states([e for e in log.events if e.version < stopped.get(e.key, e.version + 1)])


HISTORY = [(f"rider-{number % 7}", number) for number in range(60)]


def test_invariant_10_one_key_is_parked_and_no_other_is_delayed() -> None:
    log, topic, sink = a_log(HISTORY, {15}), ScriptedTopic(), MemorySink()
    runner = a_runner(log, topic, sink)
    runner.step(0)
    assert sink.all_states() == before_the_first_failure(log, {16})
    mark = sink.all_parked()["rider-1"]
    assert (mark.position, mark.version, mark.kind) == (16, 3, "fold")
    assert "ZeroDivisionError: a fault of the fold" in mark.reason
    assert list(sink.all_parked()) == ["rider-1"]
    assert runner.lag(log.head("Rider")) == 0
    assert runner.parked() == 1


def test_an_undecodable_frame_parks_its_key() -> None:
    log, topic, sink = a_log(HISTORY), ScriptedTopic(), MemorySink()
    log.events[20] = log.events[20]._replace(payload=b"garbage\0")
    a_runner(log, topic, sink).step(0)
    mark = sink.all_parked()["rider-6"]
    assert (mark.position, mark.kind) == (21, "decode")
    assert sink.all_states() == before_the_first_failure(log, {21})


def test_a_rejected_row_parks_its_key_and_the_batch_continues() -> None:
    log, topic, sink = a_log(HISTORY), ScriptedTopic(), MemorySink()
    bad = SPEED.encode(folded_upto(log, "rider-2", 4))

    def refuse(writes: Sequence[ShardWrite]) -> None:
        if any(write.states.get("rider-2", b"")[:9] >= bad[:9] for write in writes):
            raise SinkRejected("numeric field overflow")

    sink.before_apply = refuse
    runner = a_runner(log, topic, sink)
    runner.step(0)
    mark = sink.all_parked()["rider-2"]
    assert (mark.version, mark.kind, mark.reason) == (4, "refused", "SinkRejected: numeric field overflow")
    assert sink.all_states() == before_the_first_failure(log, {mark.position})
    assert runner.lag(log.head("Rider")) == 0


def folded_upto(log: MemoryLog, key: str, version: int) -> SpeedState:
    state = SPEED.initial
    for event in log.read_key("Rider", key, 1, 10**9)[:version]:
        state = SPEED.fold(state, KeyedEvent(key, event.version, event.position, "GpsPing", json.loads(event.payload)))
    return state


def test_a_state_that_cannot_be_encoded_parks_its_key_at_the_first_such_event() -> None:
    def encode(state: SpeedState) -> bytes:
        if state.version >= 5:
            raise OverflowError("int too large")
        return SPEED.encode(state)

    log, sink = a_log(HISTORY), MemorySink()
    a_runner(log, ScriptedTopic(), sink, replace(SPEED, encode=encode)).step(0)
    assert {key: (mark.version, mark.kind) for key, mark in sink.all_parked().items()} == {
        f"rider-{n}": (5, "refused") for n in range(7)
    }
    assert sink.all_states() == expected_states([e for e in log.events if e.version < 5])


def test_an_unavailable_registry_parks_no_key() -> None:
    def unavailable(payload: bytes) -> Mapping[str, Any]:
        raise PortUnavailable("the registry does not answer")

    log, sink = a_log(HISTORY), MemorySink()
    runner: StreamFollower[Any] = StreamFollower(
        FAULTY, log_port=log, consumer=ScriptedTopic(), sink=sink, decode=unavailable, partitions=8
    )
    with pytest.raises(PortUnavailable):
        runner.step(0)
    assert sink.all_parked() == {}
    assert sink.all_states() == {}


def test_a_parked_key_stays_parked_after_a_restart() -> None:
    log, sink = a_log(HISTORY, {15}), MemorySink()
    a_runner(log, ScriptedTopic(), sink).step(0)
    log.append("rider-1", "GpsPing", ping_data("rider-1", 99_000, 99))
    a_runner(log, ScriptedTopic(), sink, SPEED).step(0)
    assert sink.all_parked()["rider-1"].position == 16
    assert sink.all_states() == before_the_first_failure(log, {16})


def test_a_discarded_event_is_skipped() -> None:
    log, sink = a_log(HISTORY, {15}), MemorySink()
    log.discards = {16}
    a_runner(log, ScriptedTopic(), sink).step(0)
    assert sink.all_parked() == {}
    assert sink.all_states() == expected_states([e for e in log.events if e.position != 16])


def test_a_fold_that_fails_everywhere_stops_the_projection() -> None:
    log, sink = MemoryLog(), MemorySink()
    shard = log.append("rider-0", "GpsPing", ping_data("rider-0", 1, poison=True)).shard
    number = 0
    while log.head("Rider").seqs[shard] <= MAX_PARKED_PER_SHARD:
        number += 1
        log.append(f"rider-{number}", "GpsPing", ping_data(f"rider-{number}", 1, poison=True))
    runner = a_runner(log, ScriptedTopic(), sink)
    counts = set()
    for _ in range(3):
        with pytest.raises(BrokenFold, match="are parked"):
            runner.step(0)
        counts.add(len(sink.all_parked()))
    # However often the worker retries, no further batch is parked.
    assert len(counts) == 1
    assert max(counts) <= MAX_PARKED_PER_SHARD


def test_regression_a_rejected_batch_evicts_no_state_that_it_has_loaded() -> None:
    keys = [key for key in (f"rider-{n}" for n in range(2_000)) if shard_of(key) == 0][:8]
    log, topic, sink = MemoryLog(), ScriptedTopic(), MemorySink()
    for number, key in enumerate(keys):
        log.append(key, "GpsPing", ping_data(key, number * 1000, number))
    limits = ProcessorLimits(cached_states_per_shard=2)
    runner = StreamFollower(SPEED, log_port=log, consumer=topic, sink=sink, decode=decode, partitions=8, limits=limits)
    runner.step(0)
    recorded = len(log.events)
    for number, key in enumerate(keys):
        log.append(key, "GpsPing", ping_data(key, (recorded + number) * 1000, recorded + number))

    def refuse(writes: Sequence[ShardWrite]) -> None:
        for write in writes:
            if keys[0] in write.states and SPEED.decode(write.states[keys[0]]).pings == 2:
                raise SinkRejected("no")

    sink.before_apply = refuse
    topic.deliver(log.events[recorded:])
    runner.step(0)
    assert list(sink.all_parked()) == [keys[0]]
    assert {key: SPEED.decode(state).pings for key, state in sink.all_states().items()} == {
        key: 1 if key == keys[0] else 2 for key in keys
    }


@given(histories, st.sets(st.integers(0, 59), max_size=5), st.data())
def test_invariant_10_holds_for_any_batching_and_redelivery(
    history: list[tuple[str, int]], poison: set[int], data: st.DataObject
) -> None:
    log, topic, sink = MemoryLog(), ScriptedTopic(), MemorySink()
    runner = a_runner(log, topic, sink)
    runner.step(0)
    source = a_log(history, poison)
    for event in source.events:
        log.append(event.key, event.event_type, json.loads(event.payload))
    for _ in range(data.draw(st.integers(1, 4))):
        topic.deliver(data.draw(st.lists(st.sampled_from(log.events), max_size=40)))
    while topic.batches:
        runner.step(0)
    runner.idle_check()
    runner.idle_check()
    bad = {number + 1 for number in poison if number < len(history)}
    assert sink.all_states() == before_the_first_failure(log, bad)
    assert set(sink.all_parked()) == {log.events[p - 1].key for p in bad}
