"""A retry whose result is refused: the key is held back at the very event, and at no other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from domain.features.speed.window import SpeedState
from domain.identifiers import shard_of
from projections.core.parked_keys import MAX_EVENTS_PER_ATTEMPT, ParkedKeys
from projections.core.ports import ShardWrite, SinkRejected
from projections.speed import SPEED
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink, ScriptedTopic
from tests.support.worlds.retries import Registry, a_log, a_runner, parking
from tests.support.worlds.speed_events import expected_states, ping_data

LONG = [("rider-1", second) for second in range(2 * MAX_EVENTS_PER_ATTEMPT + 500)]
"""Of one key, waiting in three parts."""


def waiting(registry: Registry) -> tuple[MemoryLog, MemorySink]:
    """LONG, parked at its first event; the cause is repaired by now."""
    log, sink = a_log(LONG), MemorySink()
    a_runner(log, sink, registry.decode).step(0)
    assert sink.all_parked()["rider-1"].version == 1
    registry.unknown.clear()
    return log, sink


def refuses_from(version: int) -> Callable[[Sequence[ShardWrite]], None]:
    """As a column that such a state does not fit."""

    def refuse(writes: Sequence[ShardWrite]) -> None:
        if any(SPEED.decode(state).version >= version for write in writes for state in write.states.values()):
            raise SinkRejected("numeric field overflow (22003)")

    return refuse


@pytest.mark.parametrize("version", [1, 2, 777, MAX_EVENTS_PER_ATTEMPT, MAX_EVENTS_PER_ATTEMPT + 1, 1_777, len(LONG)])
def test_regression_a_retry_that_the_sink_refuses_parks_the_key_at_the_event_that_is_refused(version: int) -> None:
    """The key stayed parked at the earlier event: a discard would have skipped that event permanently."""
    registry = Registry({0})
    log, sink = waiting(registry)
    sink.before_apply = refuses_from(version)
    done = parking(log, sink, registry.decode).retry("rider-1")
    mark = sink.all_parked()["rider-1"]
    assert (mark.version, mark.position, mark.seq, mark.kind) == (version, version, version, "refused")
    assert mark.reason == "SinkRejected: numeric field overflow (22003)"
    assert (done.verdict, done.events, done.parked) == ("still", version - 1, mark)
    assert sink.all_states() == expected_states(log.events[: version - 1])

    sink.before_apply = lambda writes: None
    assert parking(log, sink, registry.decode).retry("rider-1").events == len(LONG) - version + 1
    assert sink.all_parked() == {}
    assert sink.all_states() == expected_states(log.events)


def test_regression_a_discard_after_a_refused_retry_passes_over_the_refused_event_and_no_other() -> None:
    registry = Registry({0})
    log, sink = waiting(registry)

    def refuse(writes: Sequence[ShardWrite]) -> None:
        if not log.discards:
            refuses_from(7)(writes)

    sink.before_apply = refuse
    done = parking(log, sink, registry.decode).retry("rider-1")
    assert done.parked is not None
    log.discards = {done.parked.position}
    assert parking(log, sink, registry.decode).retry("rider-1").verdict == "unparked"
    assert sink.all_states() == expected_states([event for event in log.events if event.position != 7])


def test_a_retry_finds_the_first_state_that_cannot_be_written_down() -> None:
    registry = Registry({0})
    log, sink = waiting(registry)
    folded = 0

    def decode(payload: bytes) -> Mapping[str, Any]:
        nonlocal folded
        folded += 1
        return registry.decode(payload)

    def encode(state: SpeedState) -> bytes:
        if state.version >= 1_777:
            raise OverflowError("int too large")
        return SPEED.encode(state)

    done = ParkedKeys(replace(SPEED, encode=encode), sink, log, decode, lambda: 0).retry("rider-1")
    mark = sink.all_parked()["rider-1"]
    assert (mark.version, mark.kind, done.verdict, done.events) == (1_777, "refused", "still", 1_776)
    assert "int too large" in mark.reason
    assert sink.all_states() == expected_states(log.events[:1_776])
    assert folded < 5 * len(LONG), "one by one, it would lose every race with the worker"


def test_a_retry_stops_at_what_comes_first_a_refusal_or_a_failure_of_the_fold() -> None:
    for refused, unknown, first in ((300, 600, 300), (600, 300, 300)):
        registry = Registry({0})
        log, sink = waiting(registry)
        registry.unknown = {unknown - 1}
        sink.before_apply = refuses_from(refused)
        parking(log, sink, registry.decode).retry("rider-1")
        mark = sink.all_parked()["rider-1"]
        assert (mark.version, mark.kind) == (first, "refused" if first == refused else "decode")


def test_what_only_many_events_at_once_make_too_large_holds_no_key_back() -> None:
    registry = Registry({0})
    log, sink = waiting(registry)
    before = 0

    def refuse(writes: Sequence[ShardWrite]) -> None:
        nonlocal before
        (now,) = [SPEED.decode(state).version for state in writes[0].states.values()]
        if before < 800 <= now and now - before > 1:
            raise SinkRejected("too large")
        before = now

    sink.before_apply = refuse
    assert parking(log, sink, registry.decode).retry("rider-1").verdict == "unparked"
    assert sink.all_states() == expected_states(log.events)


def test_the_worker_goes_on_while_a_retry_looks_for_the_refused_event() -> None:
    registry, topic = Registry({0}), ScriptedTopic()
    log, sink = waiting(registry)
    runner = a_runner(log, sink, registry.decode, topic)
    others, refuse = itertools.count(), refuses_from(777)
    neighbour = next(key for key in (f"other-{n}" for n in range(10_000)) if shard_of(key) == shard_of("rider-1"))

    def the_worker_is_quicker(writes: Sequence[ShardWrite]) -> None:
        if any("rider-1" in write.parked for write in writes):
            number = next(others)
            if number % 3 == 0:
                ping = ping_data(neighbour, number * 1_000, 9_000 + number, serial=-1)
                topic.deliver([log.append(neighbour, "GpsPing", ping)])
                runner.step(0)
            refuse(writes)

    sink.before_apply = the_worker_is_quicker
    assert parking(log, sink, registry.decode).retry("rider-1").verdict == "still"
    assert sink.all_parked()["rider-1"].version == 777
    assert log.events[-1].key == neighbour
    runner.step(0)
    assert sink.all_states() == expected_states(
        [event for event in log.events if event.key == neighbour or event.version < 777]
    )
