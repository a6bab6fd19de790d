"""A shard whose fence does not match is refolded in the staging area: readers miss no key, whichever worker dies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identifiers import shard_of
from projections.core import refolds
from projections.core.ports import FenceConflict, PortUnavailable, ShardWrite, Sink
from projections.core.shard_processor import ProcessorLimits
from projections.live.stream_follower import StreamFollower
from projections.speed import SPEED
from tests.support.ports_in_memory.projection_ports import MemorySink, ScriptedTopic, ServerUnavailable
from tests.support.worlds.locations_world import HISTORY as LOCATIONS
from tests.support.worlds.locations_world import World as LocationsWorld
from tests.support.worlds.restorable_speed_log import RestorableSpeedLog
from tests.support.worlds.speed_events import expected_states, histories

HISTORY = [(f"rider-{number % 5}", number) for number in range(40)]
SMALL = ProcessorLimits(fill_events=3)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refold takes many steps, so that readers and workers come between them."""
    monkeypatch.setattr(refolds, "MAX_EVENTS_PER_STEP", 2)


class World(RestorableSpeedLog):
    """Workers around a log that can be set back and a sink that can be spoiled."""

    def __init__(self, history: Sequence[tuple[str, int]] = HISTORY) -> None:
        super().__init__(history)
        self.topic = ScriptedTopic()
        self.runner = self.worker(self.topic)
        self.settle(self.runner)

    def worker(self, topic: ScriptedTopic | None = None, sink: Sink | None = None) -> StreamFollower[Any]:
        return StreamFollower(
            SPEED,
            log_port=self.log,
            consumer=topic or ScriptedTopic(),
            sink=sink or self.sink,
            decode=json.loads,
            partitions=8,
            limits=SMALL,
        )

    def spoil(self, rider: str) -> None:
        """As if a forged record had been folded: another state, and another event at the fence."""
        shard = shard_of(rider)
        self.sink.states[shard][rider] = b"{}"
        self.sink.held[shard] = self.sink.held[shard]._replace(event="forged")

    def settle(self, runner: StreamFollower[Any]) -> None:
        for _ in range(60):
            runner.step(0)
            runner.idle_check()

    def leaves_nothing_staged(self) -> bool:
        staging = self.sink.staging()
        return not (staging.held or staging.all_states() or staging.all_parked())


def test_regression_old_states_stay_readable_until_the_refold_is_whole() -> None:
    world = World()
    shard = shard_of("rider-1")
    world.spoil("rider-1")
    spoiled = dict(world.sink.states[shard])
    steps = 0
    world.runner.idle_check()
    while world.sink.states[shard] == spoiled:
        world.runner.step(0)
        steps += 1
        assert steps < 50
    # Never something in between: the old states, then those of the log.
    assert steps > 1
    assert world.is_right()
    assert world.leaves_nothing_staged()


def test_the_other_shards_go_on_while_one_is_refolded() -> None:
    world = World()
    world.spoil("rider-1")
    world.runner.idle_check()
    other = next(rider for rider in ("rider-2", "rider-3", "rider-4") if shard_of(rider) != shard_of("rider-1"))
    [news] = world.record([(other, 90)])
    world.topic.deliver([news])
    world.runner.step(0)
    assert world.sink.held[news.shard].seq == news.seq
    assert world.sink.held[shard_of("rider-1")].event == "forged"
    world.settle(world.runner)
    assert world.is_right()


def test_what_comes_for_a_shard_during_its_refold_is_in_it_at_the_end() -> None:
    world = World()
    world.spoil("rider-1")
    world.runner.idle_check()
    world.topic.deliver(world.record([("rider-1", 90), ("rider-1", 91)]))
    world.settle(world.runner)
    assert world.is_right()


def test_the_fence_of_a_shard_that_is_refolded_is_that_of_the_staging_area() -> None:
    world = World()
    shard, before = shard_of("rider-1"), world.runner.fences()
    world.spoil("rider-1")
    world.runner.idle_check()
    during, staging = world.runner.fences(), world.sink.staging().held[shard]
    assert 0 < staging.seq < before[shard].seq
    assert during == before | {shard: staging}
    world.settle(world.runner)
    assert world.runner.fences() == before | {shard: world.sink.held[shard]}
    assert world.sink.held[shard].seq == before[shard].seq


def test_a_shard_that_is_trusted_again_leaves_no_refold_behind() -> None:
    world = World()
    shard, good = shard_of("rider-1"), world.sink.held[shard_of("rider-1")]
    world.spoil("rider-1")
    world.runner.idle_check()
    assert world.sink.staging().held
    world.sink.held[shard] = good
    world.sink.states[shard]["rider-1"] = expected_states(world.log.events)["rider-1"]
    world.settle(world.worker())
    assert world.is_right()
    assert world.leaves_nothing_staged()


def test_a_refold_that_finds_less_than_the_head_says_keeps_serving_the_old_states() -> None:
    world = World()
    world.spoil("rider-1")
    shard, spoiled = shard_of("rider-1"), dict(world.sink.states[shard_of("rider-1")])
    # The first events of the log were detached.
    first = next(event for event in world.log.events if event.shard == shard)
    whole, world.log.events = world.log.events, [event for event in world.log.events if event != first]
    world.settle(world.runner)
    assert world.sink.states[shard] == spoiled
    world.log.events = whole
    world.settle(world.runner)
    assert world.is_right()


def test_a_zombie_that_still_writes_to_the_served_shard_changes_nothing() -> None:
    world = World()
    zombie_topic = ScriptedTopic()
    zombie = world.worker(zombie_topic)
    zombie.step(0)
    news = world.restore(20, [("rider-1", 60 + number) for number in range(25)])
    world.runner.idle_check()
    zombie_topic.deliver(news[-3:])
    zombie.step(0)
    world.settle(world.runner)
    assert world.is_right()


def test_two_workers_that_meet_in_a_refold_do_it_together() -> None:
    world = World()
    world.restore(12, [("rider-2", 90)])
    one, two = world.worker(), world.worker()
    for _ in range(60):
        for runner in (one, two):
            runner.step(0)
            runner.idle_check()
    assert world.is_right()
    assert world.leaves_nothing_staged()


@given(histories, st.data())
def test_invariant_4_a_crash_at_any_instant_of_a_refold_changes_nothing(
    history: list[tuple[str, int]], data: st.DataObject
) -> None:
    """Workers die before or after each step of each area, meet, and the log is restored again meanwhile."""
    world = World(history)
    states_ever = [expected_states(world.log.events)]
    position = data.draw(st.integers(0, len(world.log.events)))
    world.restore(position, data.draw(st.lists(st.tuples(st.sampled_from(["rider-1", "rider-2"]), st.integers(0, 99)))))
    states_ever.append(expected_states(world.log.events))
    deaths = data.draw(st.lists(st.sampled_from(["before", "after", ""]), max_size=12))
    staging = world.sink.staging()

    def dies(sink: MemorySink) -> Any:
        def before_apply(writes: Sequence[ShardWrite]) -> None:
            how = deaths.pop() if deaths else ""
            if how == "after":
                sink.before_apply = lambda _: None
                sink.apply(writes)
                sink.before_apply = before_apply
            if how:
                raise ServerUnavailable("killed")

        return before_apply

    def dies_promoting(shard: int) -> None:
        if deaths and deaths.pop():
            raise ServerUnavailable("killed")

    world.sink.before_apply, staging.before_apply = dies(world.sink), dies(staging)
    world.sink.before_promote = dies_promoting
    restored_again = data.draw(st.booleans())
    runners = [world.worker(), world.worker()]
    for turn in range(80):
        if turn == 3 and restored_again:
            world.restore(data.draw(st.integers(0, len(world.log.events))), [("rider-1", 120)])
            states_ever.append(expected_states(world.log.events))
        at = data.draw(st.integers(0, 1)) if turn < 12 else turn % 2
        try:
            runners[at].step(0)
            runners[at].idle_check()
        except (PortUnavailable, FenceConflict):
            runners[at] = world.worker()
        if turn < 3:
            # A key that every history has is never missing.
            always = set.intersection(*(set(states) for states in states_ever))
            assert always <= world.sink.all_states().keys()
    deaths.clear()
    world.settle(world.worker())
    assert world.is_right()
    assert world.leaves_nothing_staged()


def test_regression_no_tombstone_storm_on_the_compacted_topic() -> None:
    world = LocationsWorld()
    worker = world.worker()
    worker.reads()
    shard = shard_of("rider-1")
    # A forged record has been folded: one rider of the shard is elsewhere, at a position that the log gives another.
    world.sink.held[shard] = world.sink.held[shard]._replace(event="forged")
    before = world.published.records()
    for _ in range(60):
        worker.runner.idle_check()
        worker.reads()
    assert world.published.records() == before
    assert world.is_shown()


def test_after_a_restore_a_tombstone_and_its_record_follow_each_other() -> None:
    world = LocationsWorld()
    world.worker().reads()
    world.log = world.log.restored_to(len(LOCATIONS) - 14)
    worker = world.worker()
    for _ in range(60):
        worker.reads()
        worker.runner.idle_check()
    assert world.is_shown()
    shown = [(key, bool(value)) for key, value in world.published.records()]
    by_key = {key: [has for one, has in shown if one == key] for key, _ in shown}
    assert all(seen == [True, False, True] for seen in by_key.values()), by_key
