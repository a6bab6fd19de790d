"""Two workers refold one shard: exactly one promotes it, and the other reads the served fence again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from domain.identifiers import shard_of
from projections.core import refolds
from projections.core.ports import Fence, FenceConflict
from projections.core.shard_processor import ProcessorLimits, ShardProcessor
from projections.speed import SPEED
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink
from tests.support.worlds.speed_events import expected_states, ping_data

T_MS = 1_790_000_000_000
RIDER = "rider-1"
SHARD = shard_of(RIDER)
LIMITS = ProcessorLimits(fill_events=3)


class Served:
    """One shard, folded up to the head, whose fence then names an event that the log does not have."""

    def __init__(self, events: int = 9) -> None:
        self.log, self.sink = MemoryLog(), MemorySink()
        self.record(events)
        first = self.processor()
        first.open([SHARD])
        first.fill(SHARD, events)
        self.sink.held[SHARD] = self.sink.held[SHARD]._replace(event="forged")

    def record(self, events: int) -> None:
        first = len(self.log.events)
        for number in range(first, first + events):
            self.log.append(RIDER, "GpsPing", ping_data(RIDER, T_MS + number * 1000, number))

    def processor(self) -> ShardProcessor[Any]:
        return ShardProcessor(SPEED, self.log, self.sink, json.loads, LIMITS)

    def distrusting(self) -> ShardProcessor[Any]:
        """A worker that has opened the shard and refolds it."""
        one = self.processor()
        one.open([SHARD])
        assert one.refolds.shards() == [SHARD]
        return one

    def is_right(self) -> bool:
        return self.sink.all_states() == expected_states(self.log.events)


def step_until(condition: Callable[[], bool], worker: ShardProcessor[Any]) -> None:
    for _ in range(50):
        if condition():
            return
        worker.refolds.step()
    raise AssertionError("the refold did not get there in 50 steps")


def test_the_worker_that_promotes_a_shard_has_it_open_and_follows_the_log() -> None:
    served = Served()
    worker = served.distrusting()
    step_until(lambda: not worker.refolds, worker)
    assert worker.lost == set()
    state = worker.states[SHARD]
    assert (state.fence, state.stored) == (served.sink.held[SHARD], served.sink.held[SHARD])
    served.record(2)
    worker.fill(SHARD, 11)
    assert served.is_right()
    assert worker.counters.lost_races == 0


def test_events_that_were_recorded_during_the_refold_are_folded_when_it_is_promoted() -> None:
    served = Served()
    worker = served.distrusting()
    served.sink.before_promote = lambda _shard: served.record(2)
    step_until(lambda: not worker.refolds, worker)
    assert worker.states[SHARD].fence.seq == 11
    assert served.is_right()


def test_a_promotion_that_is_lost_leaves_the_shard_to_be_opened_again() -> None:
    served = Served()
    worker, other = served.distrusting(), served.distrusting()

    def the_other_is_first(_shard: int) -> None:
        served.sink.before_promote = lambda _shard: None
        step_until(lambda: not other.refolds, other)

    served.sink.before_promote = the_other_is_first
    step_until(lambda: not worker.refolds, worker)
    assert worker.lost == {SHARD}
    assert SHARD not in worker.states
    assert SHARD in other.states
    assert served.is_right()
    worker.open([SHARD])
    assert worker.states[SHARD].fence == served.sink.held[SHARD]


def test_a_refold_of_another_log_that_was_left_is_replaced_by_its_own_fence() -> None:
    """The compare-and-set of the new refold names the fence that was left, and not an empty area."""
    served = Served()
    left = Fence("00000000-0000-0000-0000-000000000001", "left", 4, 4)
    beside = served.sink.staging()
    beside.held[SHARD] = left
    beside.states[SHARD]["someone-else"] = b"{}"
    worker = served.distrusting()
    step_until(lambda: not worker.refolds, worker)
    assert worker.lost == set()
    assert served.is_right()


def test_the_parked_keys_of_a_refold_are_those_that_its_state_has() -> None:
    served = Served(events=3)
    served.log.append("rider-1", "GpsPing", {"cannot": "be folded"})
    worker = served.distrusting()
    step_until(lambda: not worker.refolds, worker)
    assert list(worker.states[SHARD].parked) == [RIDER]
    assert served.sink.parked([SHARD])[SHARD].keys() == {RIDER}


def test_a_refold_that_has_not_begun_has_applied_nothing() -> None:
    worker = Served().distrusting()
    assert {shard: (fence.seq, fence.position) for shard, fence in worker.fences().items()} == {SHARD: (0, 0)}


@pytest.mark.parametrize("why", ["stuck", "lost"])
def test_a_refold_that_cannot_finish_names_the_shards(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refolds, "MAX_EVENTS_PER_STEP", 2)
    served = Served()
    worker = served.distrusting()
    if why == "stuck":
        served.log.events.clear()
    else:
        served.sink.before_promote = served.sink.held.pop  # type: ignore[assignment]
    with pytest.raises(FenceConflict, match=rf"shards \[{SHARD}\]"):
        worker.refolds.finish()
