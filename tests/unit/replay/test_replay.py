"""Every replay, from any start, is the fold of the events that count."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.identifiers import SHARDS
from infrastructure.sinks.decorators import SnapshottingSink
from projections.analytics import ANALYTICS
from projections.core.parked_keys import ParkedKeys
from projections.core.projection import Projection
from projections.core.shard_processor import ProcessorLimits
from projections.live.stream_follower import StreamFollower
from projections.rebuild.catch_up import CatchUp
from projections.replay.as_of import AsOf
from projections.replay.key_replay import KeyReplay
from projections.replay.shard_replay import replay_shard
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from read_models.rows import RowChange, merged
from tests.support.ports_in_memory.archive import MemoryArchive, MemorySnapshots
from tests.support.ports_in_memory.projection_ports import MemorySink, ScriptedTopic
from tests.support.worlds.histories import OF_RIDERS
from tests.support.worlds.replays import END_MS, Story, answered, asks, assert_speed, decode, naive, stories, within
from tests.support.worlds.rider_events import RIDERS

every_projection = pytest.mark.parametrize("projection", OF_RIDERS, ids=lambda p: p.name)

grids = st.integers(1, 7)

seeds = st.integers(0, 1 << 32).map(random.Random)


def damage(story: Story, position: int) -> None:
    """Make the payload undecodable; its reception time is lost with it."""
    story.log.damage(position)
    story.raw[position - 1]["unreadable"] = True


def filled(projection: Projection[Any], log: MemoryArchive, every: int, chance: st.DataObject) -> MemorySnapshots:
    """The snapshots of live folding, by a worker that fills from the log or one that follows Kafka."""
    kept = MemorySnapshots(log, every)
    sink = SnapshottingSink(MemorySink(), kept, projection)
    limits = ProcessorLimits(
        fill_events=chance.draw(st.integers(1, 9)), cached_states_per_shard=1, snapshot_interval=every
    )
    if chance.draw(st.booleans()):
        CatchUp(projection, log, sink, decode, range(SHARDS), limits).run()
        return kept
    topic = ScriptedTopic()
    runner: StreamFollower[Any] = StreamFollower(
        projection, log_port=log, consumer=topic, sink=sink, decode=decode, partitions=8, limits=limits
    )
    for cut in range(0, len(log.events), 7):
        topic.deliver(log.events[cut : cut + 9])
    while topic.batches:
        runner.step(0)
    return kept


def some_snapshots(
    projection: Projection[Any], log: MemoryArchive, every: int, chance: st.DataObject
) -> MemorySnapshots:
    """No snapshots, all or some of live folding, or those of earlier replays."""
    how = chance.draw(st.sampled_from(["none", "all", "some", "healed"]))
    kept = MemorySnapshots(log, every) if how in {"none", "healed"} else filled(projection, log, every, chance)
    if how == "some":
        for place in list(kept.kept):
            if chance.draw(st.booleans()):
                del kept.kept[place]
    if how == "healed":
        replay = KeyReplay(ReplaySource(projection, log, decode), kept, snapshot_interval=every)
        for key in chance.draw(st.lists(st.sampled_from(RIDERS), max_size=4)):
            replay.at(key, log.horizon(AsOf.at_position(chance.draw(st.integers(0, len(log.events))))))
    return kept


@settings(max_examples=150)
@given(story=stories(), every=grids, chance=st.data())
def test_the_speed_as_of_any_instant_equals_the_reference(story: Story, every: int, chance: st.DataObject) -> None:
    replay = KeyReplay(
        ReplaySource(SPEED, story.log, decode), some_snapshots(SPEED, story.log, every, chance), snapshot_interval=every
    )
    for key, as_of in asks(story.raw, chance.draw(seeds), 30):
        assert_speed(story.raw, story.log, replay, key, as_of)


@every_projection
@settings(max_examples=80)
@given(story=stories(), every=grids, chance=st.data())
def test_invariant_8_a_replay_is_the_fold_of_the_events_that_count_with_parked_keys_and_discards(
    projection: Projection[Any], story: Story, every: int, chance: st.DataObject
) -> None:
    places = st.lists(st.integers(1, len(story.raw)), max_size=3, unique=True)
    for position in chance.draw(places):
        damage(story, position)
    story.log.discards.update(chance.draw(places))
    kept = some_snapshots(projection, story.log, every, chance)
    assert not (projection.tables and kept.kept)
    replay = KeyReplay(ReplaySource(projection, story.log, decode), kept, snapshot_interval=every)
    for key, as_of in asks(story.raw, chance.draw(seeds), 20):
        events = within(story, as_of, key)
        expected = naive(projection, events, story.log.discards) if events else None
        assert answered(projection, replay, key, story.log.horizon(as_of)) == expected


@every_projection
@settings(max_examples=50)
@given(story=stories(), every=grids, chance=st.data())
def test_all_shards_are_all_keys_one_by_one(
    projection: Projection[Any], story: Story, every: int, chance: st.DataObject
) -> None:
    for position in chance.draw(st.lists(st.integers(1, len(story.raw)), max_size=2)):
        damage(story, position)
    kept = some_snapshots(projection, story.log, every, chance)
    replay = KeyReplay(ReplaySource(projection, story.log, decode), kept, snapshot_interval=every)
    [(_, as_of)] = asks(story.raw, chance.draw(seeds), 1)
    horizon = story.log.horizon(as_of)
    found = [replay_shard(ReplaySource(projection, story.log, decode), shard, horizon) for shard in range(SHARDS)]
    one_by_one = {key: answer for key in RIDERS if (answer := replay.at(key, horizon)) is not None}
    encode = projection.encode
    assert {key: encode(state) for shard in found for key, state in shard.states.items()} == {
        key: encode(answer.state) for key, answer in one_by_one.items() if answer.state is not None
    }
    assert {key: mark for shard in found for key, mark in shard.parked.items()} == {
        key: answer.parked for key, answer in one_by_one.items() if answer.parked is not None
    }
    assert sum(shard.events for shard in found) == sum(len(within(story, as_of, key)) for key in RIDERS)


@settings(max_examples=60)
@given(story=stories(), chance=st.data())
def test_the_rows_of_a_replay_are_those_of_all_events_that_count(story: Story, chance: st.DataObject) -> None:
    [(_, as_of)] = asks(story.raw, chance.draw(seeds), 1)
    horizon = story.log.horizon(as_of)
    for shard in range(SHARDS):
        keys = [key for key in RIDERS if any(e.key == key and e.shard == shard for e in story.log.events)]
        rows = [row for key in keys for row in naive(ANALYTICS, within(story, as_of, key)).rows]
        found = replay_shard(ReplaySource(ANALYTICS, story.log, decode), shard, horizon)
        assert by_place(found.rows) == by_place(merged(rows))


def by_place(rows: Sequence[RowChange]) -> dict[tuple[str, tuple[Any, ...]], RowChange]:
    return {(row.table, row.key): row for row in rows}


@settings(max_examples=50)
@given(story=stories(), every=grids, chance=st.data())
def test_a_key_that_was_parked_and_retried_is_replayed_as_if_never_parked(
    story: Story, every: int, chance: st.DataObject
) -> None:
    """The registry did not know a schema for a while. The events skipped then are folded, also into snapshots."""
    bad = {story.log.events[p - 1].payload for p in chance.draw(st.lists(st.integers(1, len(story.raw)), max_size=3))}

    def decode_then(payload: bytes) -> Any:
        return decode(b"\xff" if payload in bad else payload)

    kept = MemorySnapshots(story.log, every)
    inner = MemorySink()
    sink = SnapshottingSink(inner, kept, SPEED)
    limits = ProcessorLimits(snapshot_interval=every)
    CatchUp(SPEED, story.log, sink, decode_then, range(SHARDS), limits).run()
    for key in inner.all_parked():
        ParkedKeys(SPEED, sink, story.log, decode, lambda: END_MS).retry(key)
    replay = KeyReplay(ReplaySource(SPEED, story.log, decode), kept, snapshot_interval=every)
    for key, as_of in asks(story.raw, chance.draw(seeds), 30):
        assert_speed(story.raw, story.log, replay, key, as_of)
