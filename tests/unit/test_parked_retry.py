"""A parked key, once its cause is mended, is as if it had never failed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.contracts import UndecodableError
from domain.features.speed_window import SpeedState
from domain.identifiers import shard_of
from projections.folding import Decode
from projections.parking import EVENTS_A_TRY, TRIES, Parking
from projections.ports import Refused, ShardWrite
from projections.runner import Runner
from projections.shards import LostRace
from projections.speed import SPEED
from tests.support.memory_ports import MemoryLog, MemorySink, ScriptedTopic
from tests.support.speed_events import expected_states, histories, ping_data


class Registry:
    """Decodes JSON; events with a serial number in ``unknown`` have a schema that it does not know yet."""

    def __init__(self, unknown: set[int]) -> None:
        self.unknown = unknown

    def decode(self, payload: bytes) -> Mapping[str, Any]:
        data = json.loads(payload)
        assert isinstance(data, dict)
        if data["serial"] in self.unknown:
            raise UndecodableError("the registry knows no schema 9")
        return data


def a_log(history: Sequence[tuple[str, int]]) -> MemoryLog:
    log = MemoryLog()
    for number, (rider, second) in enumerate(history):
        log.append(rider, "GpsPing", ping_data(rider, second * 1000, number, serial=number))
    return log


def a_runner(log: MemoryLog, sink: MemorySink, decode: Decode, topic: ScriptedTopic | None = None) -> Runner[Any]:
    return Runner(SPEED, log_port=log, topic=topic or ScriptedTopic(), sink=sink, decode=decode, partitions=8)


def parking(log: MemoryLog, sink: MemorySink, decode: Decode) -> Parking:
    return Parking(SPEED, sink, log, decode, lambda: 0)


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


def test_pings_that_come_after_the_retry_are_folded_by_the_worker_that_believed_the_key_parked() -> None:
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


def test_a_discarded_event_is_passed_over_and_what_is_behind_it_folded() -> None:
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


def test_a_retry_that_always_loses_ends_with_an_error() -> None:
    log, sink, registry = a_log(HISTORY), MemorySink(), Registry({15})
    a_runner(log, sink, registry.decode).step(0)
    tries = 0

    def always_quicker(writes: Sequence[ShardWrite]) -> None:
        nonlocal tries
        tries += 1
        fence = sink.held[writes[0].shard]
        sink.held[writes[0].shard] = fence._replace(incarnation=f"another {tries}")

    sink.before_apply = always_quicker
    with pytest.raises(LostRace):
        parking(log, sink, registry.decode).retry("rider-1")
    assert tries == TRIES


def test_regression_a_key_that_has_waited_long_is_folded_part_by_part() -> None:
    """All at once, it was overtaken by the next batch of its shard under every try."""
    history = [("rider-1", second) for second in range(3 * EVENTS_A_TRY)]
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
        if "rider-1" in writes[0].parked and folded > EVENTS_A_TRY:
            serial = len(log.events)
            topic.deliver([log.append("rider-1", "GpsPing", ping_data("rider-1", 0, serial, serial=serial))])
            runner.step(0)
        folded = 0

    sink.before_apply = batches_come_all_the_time
    done = parking(log, sink, decode).retry("rider-1")
    assert (done.verdict, done.events) == ("unparked", len(history))
    assert sink.all_states() == expected_states(log.events)


def test_a_retry_that_is_broken_off_goes_on_where_it_stood() -> None:
    log, sink, registry = (
        a_log([("rider-1", second) for second in range(2 * EVENTS_A_TRY + 5)]),
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
    assert (mark.version, mark.position) == (EVENTS_A_TRY + 1, EVENTS_A_TRY + 1)
    assert "parked retry" in mark.reason
    done = parking(log, sink, registry.decode).retry("rider-1")
    assert (done.verdict, done.events) == ("unparked", EVENTS_A_TRY + 5)
    assert sink.all_states() == expected_states(log.events)


LONG = [("rider-1", second) for second in range(2 * EVENTS_A_TRY + 500)]
"""Of one key, waiting in three parts."""


def waiting(registry: Registry) -> tuple[MemoryLog, MemorySink]:
    """LONG, parked at its first event; what has held it back is mended by now."""
    log, sink = a_log(LONG), MemorySink()
    a_runner(log, sink, registry.decode).step(0)
    assert sink.all_parked()["rider-1"].version == 1
    registry.unknown.clear()
    return log, sink


def refuses_from(version: int) -> Callable[[Sequence[ShardWrite]], None]:
    """As a column that such a state does not fit."""

    def refuse(writes: Sequence[ShardWrite]) -> None:
        if any(SPEED.decode(state).version >= version for write in writes for state in write.states.values()):
            raise Refused("numeric field overflow (22003)")

    return refuse


@pytest.mark.parametrize("version", [1, 2, 777, EVENTS_A_TRY, EVENTS_A_TRY + 1, 1_777, len(LONG)])
def test_regression_a_retry_that_the_sink_refuses_parks_the_key_at_the_event_that_is_refused(version: int) -> None:
    """The mark stayed at the event that had failed before: a discard would have passed over that one, for good."""
    registry = Registry({0})
    log, sink = waiting(registry)
    sink.before_apply = refuses_from(version)
    done = parking(log, sink, registry.decode).retry("rider-1")
    mark = sink.all_parked()["rider-1"]
    assert (mark.version, mark.position, mark.seq, mark.kind) == (version, version, version, "refused")
    assert mark.reason == "Refused: numeric field overflow (22003)"
    assert (done.verdict, done.events, done.mark) == ("still", version - 1, mark)
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
    assert done.mark is not None
    log.discards = {done.mark.position}
    assert parking(log, sink, registry.decode).retry("rider-1").verdict == "unparked"
    assert sink.all_states() == expected_states([event for event in log.events if event.position != 7])


def test_a_retry_finds_the_first_state_that_cannot_be_written_down_by_halving() -> None:
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

    done = Parking(replace(SPEED, encode=encode), sink, log, decode, lambda: 0).retry("rider-1")
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
            raise Refused("too large")
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
