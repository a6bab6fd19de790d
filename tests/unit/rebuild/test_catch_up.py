"""Filling a generation from the event store: to which seq, in which order, and what stops it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identifiers import SHARDS, shard_of
from projections.core.ports import LoggedEvent, LogHead, ShardWrite
from projections.core.shard_processor import CHUNK_POSITIONS, ProcessorLimits
from projections.rebuild.catch_up import CatchUp, LogHasGaps
from projections.speed import SPEED
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink
from tests.support.worlds.speed_events import expected_states, histories, ping_data

HISTORY = [(f"rider-{number % 7}", number) for number in range(60)]
ALL = list(range(SHARDS))
MINE = sorted({shard_of(f"rider-{number}") for number in range(7)})


def a_log(history: Sequence[tuple[str, int]] = HISTORY) -> MemoryLog:
    log = MemoryLog()
    append(log, history)
    return log


def append(log: MemoryLog, history: Sequence[tuple[str, int]]) -> None:
    for rider, second in history:
        log.append(rider, "GpsPing", ping_data(rider, second * 1000, len(log.events)))


def a_catch_up(
    log: MemoryLog, sink: MemorySink, shards: Sequence[int] = ALL, chunk_positions: int = CHUNK_POSITIONS
) -> CatchUp[Any]:
    return CatchUp(SPEED, log, sink, json.loads, shards, ProcessorLimits(chunk_positions=chunk_positions))


def upto(log: MemoryLog, targets: dict[int, int]) -> dict[str, bytes]:
    return expected_states([event for event in log.events if event.seq <= targets.get(event.shard, 10**9)])


def test_without_targets_every_shard_is_filled_to_the_head() -> None:
    log, sink = a_log(), MemorySink()
    catch_up = a_catch_up(log, sink)
    catch_up.run()
    assert sink.all_states() == expected_states(log.events)
    assert catch_up.seqs() == dict(enumerate(log.head("Rider").seqs))
    assert catch_up.counters.applied == len(HISTORY)


@given(histories, st.data())
def test_every_shard_is_filled_to_its_target_and_no_further(
    history: list[tuple[str, int]], data: st.DataObject
) -> None:
    log, sink = a_log(history), MemorySink()
    targets = data.draw(st.dictionaries(st.sampled_from(MINE), st.integers(0, 80)))
    catch_up = a_catch_up(log, sink)
    catch_up.run(targets)
    head = log.head("Rider").seqs
    assert catch_up.seqs() == {shard: min(targets.get(shard, head[shard]), head[shard]) for shard in ALL}
    assert sink.all_states() == upto(log, targets)


def test_only_its_own_shards_are_filled() -> None:
    log, sink = a_log(), MemorySink()
    catch_up = a_catch_up(log, sink, MINE[:2])
    catch_up.run({MINE[0]: 3, MINE[5]: 1})
    assert catch_up.seqs() == {MINE[0]: 3, MINE[1]: log.head("Rider").seqs[MINE[1]]}
    assert set(sink.held) == set(MINE[:2])


def test_events_recorded_after_the_head_was_read_are_not_folded() -> None:
    log, sink = a_log(), MemorySink()
    catch_up = a_catch_up(log, sink)
    head = catch_up.open()
    assert head == log.head("Rider")
    append(log, HISTORY)
    while catch_up.step():
        pass
    assert catch_up.seqs() == dict(enumerate(head.seqs))
    assert sink.all_states() == expected_states(log.events[: len(HISTORY)])


def test_a_chunk_is_a_range_of_positions() -> None:
    log, sink = a_log(), MemorySink()
    catch_up = a_catch_up(log, sink, chunk_positions=25)
    catch_up.open()
    applied = []
    while catch_up.step():
        applied.append(catch_up.counters.applied)
    assert applied == [25, 50, 60]
    assert not catch_up.step()


class NotedLog(MemoryLog):
    """Records the positions from which it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.read_after: list[int] = []

    def read_positions(self, stream: str, shards: Sequence[int], after: int, upto: int) -> list[LoggedEvent]:
        self.read_after.append(after)
        return super().read_positions(stream, shards, after, upto)


def test_a_restarted_catch_up_starts_at_the_lowest_fence() -> None:
    log, sink = NotedLog(), MemorySink()
    append(log, HISTORY)
    first = a_catch_up(log, sink, chunk_positions=10)
    first.open()
    first.step()
    second = a_catch_up(log, sink, chunk_positions=10)
    second.run()
    # Seven riders in turn: the next ping of the rider at position 4 is the first one after the chunk up to 10.
    assert log.read_after[1] == 4
    assert sink.all_states() == expected_states(log.events)
    assert second.counters.applied == len(HISTORY) - 10


def test_a_reopened_catch_up_rereads_its_fences() -> None:
    log, sink = a_log(), MemorySink()
    catch_up = a_catch_up(log, sink)
    catch_up.run()
    sink.drop()
    append(log, HISTORY)
    catch_up.run()
    assert sink.all_states() == expected_states(log.events)


def test_a_shard_lost_to_another_worker_resumes_from_its_fence() -> None:
    log, sink = a_log(), MemorySink()
    catch_up, other = a_catch_up(log, sink), a_catch_up(log, sink)
    catch_up.open({MINE[0]: 4, MINE[1]: 4})
    other.run(dict.fromkeys(MINE[:2], 2))
    steps = 0
    while catch_up.step():
        steps += 1
    assert catch_up.counters.lost_races >= 2
    assert {shard: catch_up.seqs()[shard] for shard in MINE[:2]} == {MINE[0]: 4, MINE[1]: 4}
    assert sink.all_states() == upto(log, {MINE[0]: 4, MINE[1]: 4})


def test_a_fence_conflict_at_the_last_write_is_not_the_end() -> None:
    log, sink = a_log([("rider-1", 1)]), MemorySink()
    other = a_catch_up(log, sink)
    shard = shard_of("rider-1")
    catch_up = a_catch_up(log, sink, [shard])
    catch_up.open()

    def quicker(writes: Sequence[ShardWrite]) -> None:
        sink.before_apply = lambda _: None
        other.run()

    sink.before_apply = quicker
    assert catch_up.step()
    assert catch_up.seqs() == {}
    assert not catch_up.step()
    assert catch_up.seqs() == {shard: 1}


class ShortLog(MemoryLog):
    """A log whose head counts events that it no longer has."""

    def head(self, stream: str) -> LogHead:
        return super().head(stream)._replace(position=len(HISTORY))


def test_a_log_that_lacks_events_below_its_head_is_an_error() -> None:
    log = ShortLog()
    append(log, HISTORY)
    del log.events[-3:]
    with pytest.raises(LogHasGaps, match="fewer events in the log than its head says"):
        a_catch_up(log, MemorySink()).run()
