"""Two publishers of one topic: switched generations, zombies, and commands that write concurrently with the worker."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from domain.features.keyed_event import KeyedEvent
from domain.features.latest_location import LocationState
from infrastructure.sinks.compacted_topic import MAX_EVENTS, changed_keys, full_publish_reason
from infrastructure.sinks.published_checkpoints import PublishedCheckpoint
from projections.core.parked_keys import ParkedKeys
from projections.core.ports import ApplyOutcome, Fence, PortUnavailable, ShardWrite
from projections.core.projection import Projection
from projections.locations import LOCATIONS
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink
from tests.support.worlds.locations import compacted, highest
from tests.support.worlds.locations_world import (
    HISTORY,
    LEFT_OUT,
    OTHER,
    T_MS,
    World,
    at_call,
    dies_at,
    folded,
    other_fold,
    overtaken_by,
)


class Switch:
    """Generation 1 of LOCATIONS and generation 2 of another fold; readers have seen all that was ever published."""

    def __init__(self, projection: Projection[Any] = OTHER) -> None:
        self.world = World()
        self.active = 1
        self.other = MemorySink()
        self.old = self.world.worker(generation=1, active=lambda: self.active == 1)
        self.new = self.world.worker(
            generation=2, active=lambda: self.active == 2, sink=self.other, projection=projection
        )
        for worker in (self.old, self.new):
            worker.reads()

    def to(self, generation: int) -> None:
        self.active = generation
        for worker in (self.old, self.new):
            worker.runner.idle_check()


def test_a_switch_publishes_all_of_the_new_generation_and_a_rollback_all_of_the_old() -> None:
    """Two folds, so that a switch that goes on showing the old generation fails. Positions are equal on both sides."""
    switch = Switch()
    world, riders = switch.world, len(folded(switch.world.log.events))
    assert len(world.published.records()) == riders
    assert world.is_shown()
    switch.to(2)
    assert world.is_shown(OTHER)
    # A tombstone for each key that is left out, a record for each that is not.
    assert len(world.published.records()) == 2 * riders
    switch.to(1)
    assert world.is_shown()
    assert len(world.published.records()) == 3 * riders


def test_a_switch_takes_the_keys_off_the_topic_that_the_new_generation_lacks() -> None:
    """Issue 13, number 24. Pings of them that come later do not bring them back."""
    switch = Switch()
    switch.to(2)
    world = switch.world
    assert set(highest(world.published.records())) == set(folded(world.log.events)) - LEFT_OUT
    news = world.ping(("rider-2", 90), ("rider-1", 91))
    for worker in (switch.old, switch.new):
        worker.reads(*news)
    assert world.is_shown(OTHER)


def test_a_switch_from_a_generation_that_was_dropped_takes_its_keys_off_the_topic() -> None:
    switch = Switch()
    switch.world.sink.drop()
    switch.to(2)
    assert switch.world.is_shown(OTHER)


def test_a_switch_whose_publishers_met_takes_the_keys_off_the_topic() -> None:
    """Both deleted the checkpoint, so it is unknown which generation the topic shows."""
    switch = Switch()
    switch.world.published.marks.held.clear()
    switch.to(2)
    assert switch.world.is_shown(OTHER)


def test_a_key_that_is_parked_in_the_new_generation_is_shown_as_it_is_there() -> None:
    """Readers keep the highest position, which would be that of the old generation."""

    def fails(state: LocationState, event: KeyedEvent) -> LocationState:
        if event.key == "rider-1" and event.version > 3:
            raise ValueError("this fold cannot")
        return other_fold(state, event)

    switch = Switch(replace(OTHER, fold=fails))
    assert set(switch.other.all_parked()) == {"rider-1"}
    switch.to(2)
    foldable = [e for e in switch.world.log.events if e.key != "rider-1" or e.version <= 3]
    records = switch.world.published.records()
    assert highest(records) == highest(compacted(records)) == folded(foldable, OTHER)


def test_a_generation_that_was_just_made_active_publishes_all_even_if_a_batch_comes_first() -> None:
    world = World()
    active = False
    worker = world.worker(active=lambda: active)
    worker.reads()
    active = True
    worker.reads(*world.ping(("rider-1", 60)))
    worker.runner.idle_check()
    assert world.is_shown()


def test_a_zombie_that_publishes_an_older_state_last_is_detected_by_the_checkpoint() -> None:
    world = World([("rider-1", 1)])
    successor = world.worker()
    successor.reads()
    zombie = world.worker(before=overtaken_by(successor, world))
    zombie.reads()
    zombie.reads(*world.ping(("rider-1", 60)))
    records = world.published.records()
    # A reader of all records has the newer state; a reader after a compaction would not.
    assert highest(records) == folded(world.log.events)
    assert highest(compacted(records))["rider-1"]["event_timestamp_ms"] == T_MS + 60_000
    successor.runner.idle_check()
    assert world.is_shown()


def test_an_unparked_key_is_published_though_the_command_that_unparked_it_publishes_nothing() -> None:
    world = World()
    world.log.append("rider-1", "GpsPing", {"event_timestamp_ms": "no time"})
    worker = world.worker()
    worker.reads()
    world.ping(("rider-1", 60))
    worker.runner.idle_check()
    worker.runner.idle_check()
    assert world.sink.all_parked()
    world.log.discards.add(len(HISTORY) + 1)
    parking = ParkedKeys(LOCATIONS, world.sink, world.log, json.loads, lambda: 0)
    assert parking.retry("rider-1").verdict == "unparked"
    worker.runner.idle_check()
    expected = folded([event for event in world.log.events if event.position not in world.log.discards])
    assert highest(compacted(world.published.records())) == expected


def test_after_a_restore_no_rider_stays_at_a_position_that_the_log_does_not_have() -> None:
    world = World()
    world.worker().reads()
    world.ping(*[("gone", 100 + number) for number in range(5)], ("rider-1", 110))
    world.worker().reads()
    world.log = world.log.restored_to(len(HISTORY))
    successor = world.worker()
    successor.reads()
    successor.runner.idle_check()
    assert world.is_shown()
    assert "gone" not in highest(world.published.records())


def test_a_worker_that_promotes_what_another_one_has_promoted_removes_no_rider() -> None:
    world = World()
    world.worker().reads()
    world.log = world.log.restored_to(20)
    successor = world.worker()

    def promotes_first() -> None:
        successor.reads()
        successor.runner.idle_check()

    zombie = world.worker(before=at_call(1, promotes_first))
    zombie.reads()
    successor.runner.idle_check()
    assert world.is_shown()


def test_a_promotion_that_comes_too_late_publishes_nothing() -> None:
    """The staging area is empty by then: taken for the refold, it would publish a tombstone for every rider."""
    world = World()
    world.worker().reads()
    shard, fence = next(iter(world.sink.held.items()))
    zombie = world.published.sink(world.sink, world.log)
    assert zombie.fences([shard]) == [fence]
    world.log = world.log.restored_to(20)
    successor = world.worker()
    successor.reads()
    before = world.published.records()
    assert not zombie.promote(shard, fence, Fence("log", "another", 0, 0))
    assert world.published.records() == before
    assert world.is_shown()


def test_a_checkpoint_is_not_moved_past_a_step_that_was_not_published() -> None:
    world = World([("rider-1", 1)])
    world.worker().reads()
    ((shard, fence),) = world.sink.held.items()
    sink = world.published.sink(world.sink, world.log, before=dies_at(1))
    sink.fences([shard])
    steps = [fence, *(fence._replace(seq=fence.seq + n, position=fence.position + n) for n in (1, 2))]
    (state,) = world.sink.all_states().values()
    with pytest.raises(PortUnavailable):
        sink.apply([ShardWrite(shard, steps[0], steps[1], {"rider-1": state})])
    assert sink.apply([ShardWrite(shard, steps[1], steps[2], {})]) == [ApplyOutcome.APPLIED]
    assert world.published.marks.held[shard].fence == fence


NOW = PublishedCheckpoint(2, Fence("log", "one", 9, 90), "topic")


@pytest.mark.parametrize(
    ("mark", "why"),
    [
        (None, "never published"),
        (NOW._replace(topic="another"), "topic was recreated"),
        (NOW._replace(generation=1), "generation 1"),
        (NOW._replace(fence=NOW.fence._replace(log_id="another")), "refolded"),
        (NOW._replace(fence=NOW.fence._replace(incarnation="two")), "unparked"),
        (NOW._replace(fence=NOW.fence._replace(seq=10)), "set back"),
    ],
)
def test_all_of_a_shard_is_published_when_the_checkpoint_does_not_say_what_is_shown(
    mark: PublishedCheckpoint | None, why: str
) -> None:
    assert why in (full_publish_reason(mark, NOW) or "")


def test_otherwise_only_what_has_changed() -> None:
    assert full_publish_reason(NOW, NOW) is None
    assert full_publish_reason(NOW._replace(fence=NOW.fence._replace(seq=3, position=30)), NOW) is None


def test_events_too_far_back_or_not_in_the_log_are_not_searched() -> None:
    log = MemoryLog()
    assert changed_keys(log, "Rider", 3, 0, MAX_EVENTS + 1) is None
    assert changed_keys(log, "Rider", 3, 0, 1) is None
    assert changed_keys(log, "Rider", 3, 5, 5) == []
