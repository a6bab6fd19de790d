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


def test_a_worker_that_starts_later_goes_on_with_the_refold_that_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """To begin again at each start, a shard of many events would never be refolded by workers that die early."""
    monkeypatch.setattr(refolds, "MAX_EVENTS_PER_STEP", 2)
    served = Served()
    served.distrusting().refolds.step()
    begun = served.sink.staging().held[SHARD]
    assert begun.seq == 2
    later = served.distrusting()
    assert served.sink.staging().held[SHARD] == begun
    later.refolds.step()
    assert (later.counters.applied, served.sink.staging().held[SHARD].seq) == (2, 4)
    step_until(lambda: not later.refolds, later)
    assert served.is_right()
    assert (later.counters.applied, later.counters.resets) == (7, 0)


class RefoldArea(MemorySink):
    """A staging area, which is the staging area of itself, as in Redis and Postgres."""

    def staging(self) -> MemorySink:
        return self


def test_a_worker_that_opens_a_staging_area_deletes_nothing_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refolds, "MAX_EVENTS_PER_STEP", 2)
    served = Served()
    served.sink._staging = RefoldArea()
    served.distrusting().refolds.step()
    begun = served.sink.staging().held[SHARD]
    later = served.distrusting()
    later.refolds.step()
    assert later.counters.resets == 0
    assert served.sink.staging().held[SHARD] == begun._replace(
        seq=4, position=4, event=served.sink.staging().held[SHARD].event
    )
    step_until(lambda: not later.refolds, later)
    assert served.is_right()


def test_two_workers_that_begin_a_refold_at_once_do_not_share_it() -> None:
    """The one whose reset is lost opens the shard again, by its served fence."""
    served = Served()
    worker, staging = served.distrusting(), served.sink.staging()
    reset = staging.reset

    def the_other_is_first(shard: int, expected: Fence | None, new: Fence) -> bool:
        reset(shard, expected, new._replace(incarnation="the other"))
        return reset(shard, expected, new)

    staging.reset = the_other_is_first  # type: ignore[method-assign]
    worker.refolds.step()
    assert worker.lost == {SHARD}
    assert not worker.refolds
    assert staging.held[SHARD].incarnation == "the other"
    worker.open([SHARD])
    step_until(lambda: not worker.refolds, worker)
    assert served.is_right()


OTHER_RIDER = "rider-2"
OTHER_SHARD = shard_of(OTHER_RIDER)


@pytest.mark.parametrize(
    ("limit", "first", "second"), [(1, 1, 0), (2, 2, 0), (3, 3, 0), (4, 3, 1), (5, 3, 2), (9, 3, 6)]
)
def test_a_step_folds_so_many_events_over_all_shards_and_no_more(
    limit: int, first: int, second: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shards that are followed wait for a step; the next step goes on with the shard that was not reached."""
    monkeypatch.setattr(refolds, "MAX_EVENTS_PER_STEP", limit)
    log, sink = MemoryLog(), MemorySink()
    for number, rider in enumerate([RIDER] * 3 + [OTHER_RIDER] * 6):
        log.append(rider, "GpsPing", ping_data(rider, T_MS + number * 1000, number))
    for shard, seq in ((SHARD, 3), (OTHER_SHARD, 6)):
        sink.held[shard] = Fence(str(log.log_id), "one", seq, seq, "forged")
    worker = ShardProcessor(SPEED, log, sink, json.loads, LIMITS)
    # Events that were counted before the step are not those of the step.
    worker.counters.applied = 1_000
    worker.open([SHARD, OTHER_SHARD])
    worker.refolds.step()
    assert worker.counters.applied == 1_000 + first + second
    assert (sink.held if second == 6 else sink.staging().held)[OTHER_SHARD].seq == second
    assert worker.refolds.stuck() == []
    step_until(lambda: not worker.refolds, worker)
    assert sink.all_states() == expected_states(log.events)


def test_a_shard_that_is_released_is_not_refolded_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one whose refold the log could not feed: another worker has it now."""
    served = Served()
    worker = served.distrusting()
    whole, served.log.events = served.log.events, []
    worker.refolds.step()
    assert (worker.refolds.stuck(), bool(worker.refolds)) == ([SHARD], False)
    worker.release([SHARD])
    assert worker.refolds.stuck() == worker.refolds.shards() == []
    served.log.events = whole
    later = served.distrusting()
    later.release([SHARD])
    assert not later.refolds
    assert later.fences() == {}


@pytest.mark.parametrize("begun", [0, 1, 4])
@pytest.mark.parametrize("upto", [0, 1, 2, 5, 8])
def test_a_shard_is_filled_up_to_a_seq_and_no_further(begun: int, upto: int) -> None:
    served = Served(events=9)
    worker = ShardProcessor(SPEED, served.log, MemorySink(), json.loads, LIMITS)
    worker.open([SHARD])
    for seq in (begun, upto):
        worker.fill(SHARD, seq)
        assert worker.states[SHARD].fence.seq == max(begun, seq)
    assert worker.counters.filled == worker.counters.applied == max(begun, upto)


def test_a_shard_makes_state_snapshots_at_the_interval_of_its_limits() -> None:
    served, sink = Served(events=7), MemorySink()
    seen: list[int] = []
    sink.before_apply = lambda writes: seen.extend(one.version for write in writes for one in write.snapshots)
    worker = ShardProcessor(SPEED, served.log, sink, json.loads, ProcessorLimits(snapshot_interval=3))
    worker.open([SHARD])
    worker.fill(SHARD, 7)
    assert seen == [3, 6]


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
