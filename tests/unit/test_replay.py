"""Replay: whatever was asked for, and wherever it started, it is the fold of the events that count."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.identifiers import SHARDS
from infrastructure.checkpointing import CheckpointingSink
from projections.analytics import ANALYTICS
from projections.catalogue import PROJECTIONS
from projections.checkpoints import Checkpoint, NoCheckpoints
from projections.filler import Filler
from projections.parking import Parking
from projections.ports import LoggedEvent
from projections.protocol import Projection
from projections.replay.as_of import AsOf, Unresolvable
from projections.replay.divergence import first_difference
from projections.replay.explain import explain
from projections.replay.key import KeyReplay, TooLong
from projections.replay.shards import replay_shard
from projections.replay.steps import steps
from projections.runner import Limits, Runner
from projections.speed import SPEED
from read_models.rows import RowChange, merged
from tests.support.memory_archive import MemoryArchive, MemoryCheckpoints
from tests.support.memory_ports import Away, MemorySink, ScriptedTopic
from tests.support.replays import END_MS, LIMITS, Story, answered, asks, assert_speed, decode, naive, stories, within
from tests.support.rider_events import RIDERS, START_MS
from tests.support.speed_events import ping_data

every_projection = pytest.mark.parametrize("projection", PROJECTIONS.values(), ids=lambda p: p.name)
grids = st.integers(1, 7)
seeds = st.integers(0, 1 << 32).map(random.Random)


def filled(projection: Projection[Any], log: MemoryArchive, every: int, chance: st.DataObject) -> MemoryCheckpoints:
    """What live folding leaves behind, by a worker that fills from the log or one that follows Kafka."""
    kept = MemoryCheckpoints(log, every)
    sink = CheckpointingSink(MemorySink(), kept)
    limits = Limits(fill_events=chance.draw(st.integers(1, 9)), cached_states_per_shard=1, checkpoint_every=every)
    if chance.draw(st.booleans()):
        Filler(projection, log, sink, decode, range(SHARDS), limits).run()
        return kept
    topic = ScriptedTopic()
    runner: Runner[Any] = Runner(
        projection, log_port=log, topic=topic, sink=sink, decode=decode, partitions=8, limits=limits
    )
    for cut in range(0, len(log.events), 7):
        topic.deliver(log.events[cut : cut + 9])
    while topic.batches:
        runner.step(0)
    return kept


def some_checkpoints(
    projection: Projection[Any], log: MemoryArchive, every: int, chance: st.DataObject
) -> MemoryCheckpoints:
    """None, all of live folding, some of them, or what replays have left."""
    how = chance.draw(st.sampled_from(["none", "all", "some", "healed"]))
    kept = MemoryCheckpoints(log, every) if how in {"none", "healed"} else filled(projection, log, every, chance)
    if how == "some":
        for place in list(kept.kept):
            if chance.draw(st.booleans()):
                del kept.kept[place]
    if how == "healed":
        replay = KeyReplay(projection, log, kept, decode, every=every)
        for key in chance.draw(st.lists(st.sampled_from(RIDERS), max_size=4)):
            replay.at(key, log.horizon(AsOf.at_position(chance.draw(st.integers(0, len(log.events))))))
    return kept


@settings(max_examples=150)
@given(story=stories(), every=grids, chance=st.data())
def test_the_speed_as_of_any_instant_is_what_the_reference_says(
    story: Story, every: int, chance: st.DataObject
) -> None:
    replay = KeyReplay(SPEED, story.log, some_checkpoints(SPEED, story.log, every, chance), decode, every=every)
    for key, as_of in asks(story.raw, chance.draw(seeds), 30):
        assert_speed(story.raw, story.log, replay, key, as_of)


@every_projection
@settings(max_examples=80)
@given(story=stories(), every=grids, chance=st.data())
def test_invariant_8_a_replay_is_the_fold_of_what_counts_with_parked_keys_and_discarded_events(
    projection: Projection[Any], story: Story, every: int, chance: st.DataObject
) -> None:
    places = st.lists(st.integers(1, len(story.raw)), max_size=3, unique=True)
    for position in chance.draw(places):
        story.log.damage(position)
    story.log.discards.update(chance.draw(places))
    kept = some_checkpoints(projection, story.log, every, chance)
    assert not (projection.tables and kept.kept)
    replay = KeyReplay(projection, story.log, kept, decode, every=every)
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
        story.log.damage(position)
    kept = some_checkpoints(projection, story.log, every, chance)
    replay = KeyReplay(projection, story.log, kept, decode, every=every)
    [(_, as_of)] = asks(story.raw, chance.draw(seeds), 1)
    horizon = story.log.horizon(as_of)
    found = [replay_shard(projection, story.log, decode, shard, horizon) for shard in range(SHARDS)]
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
        found = replay_shard(ANALYTICS, story.log, decode, shard, horizon)
        assert by_place(found.rows) == by_place(merged(rows))


def by_place(rows: Sequence[RowChange]) -> dict[tuple[str, tuple[Any, ...]], RowChange]:
    return {(row.table, row.key): row for row in rows}


@settings(max_examples=50)
@given(story=stories(), every=grids, chance=st.data())
def test_a_key_that_was_parked_and_retried_is_replayed_as_if_it_never_was(
    story: Story, every: int, chance: st.DataObject
) -> None:
    """The registry did not know a schema for a while: what was left out then is folded, checkpoints included."""
    bad = {story.log.events[p - 1].payload for p in chance.draw(st.lists(st.integers(1, len(story.raw)), max_size=3))}

    def decode_then(payload: bytes) -> Any:
        return decode(b"\xff" if payload in bad else payload)

    kept = MemoryCheckpoints(story.log, every)
    inner = MemorySink()
    sink = CheckpointingSink(inner, kept)
    limits = Limits(checkpoint_every=every)
    Filler(SPEED, story.log, sink, decode_then, range(SHARDS), limits).run()
    for key in inner.all_parked():
        Parking(SPEED, sink, story.log, decode, lambda: END_MS).retry(key)
    replay = KeyReplay(SPEED, story.log, kept, decode, every=every)
    for key, as_of in asks(story.raw, chance.draw(seeds), 30):
        assert_speed(story.raw, story.log, replay, key, as_of)


# --- single cases


def a_stream(count: int, key: str = "anna") -> MemoryArchive:
    log = MemoryArchive(lambda: END_MS)
    for second in range(count):
        data = ping_data(key, START_MS + second * 1_000, second)
        log.append(key, "GpsPing", data, recorded_ms=START_MS + second * 1_000)
    return log


def states(log: MemoryArchive, upto: int) -> bytes | None:
    return naive(SPEED, log.events[:upto]).state


def test_a_replay_starts_at_the_checkpoint_before_and_folds_few_events() -> None:
    log = a_stream(100)
    kept = MemoryCheckpoints(log, 10)
    replay = KeyReplay(SPEED, log, kept, decode, every=10)
    first = replay.at("anna", log.horizon(AsOf.at_position(100)))
    assert first is not None
    assert (first.events, len(kept.kept)) == (100, 10)
    for as_of in (AsOf.at_position(57), AsOf.known(START_MS + 56_000), AsOf.happened(START_MS + 56_999)):
        again = replay.at("anna", log.horizon(as_of))
        assert again is not None
        assert again.state is not None
        assert (again.events, SPEED.encode(again.state)) == (7, states(log, 57))


@pytest.mark.parametrize("missing", [10, 50, 90])
def test_a_checkpoint_that_is_missing_costs_one_reader_by_event_time_and_not_the_next(missing: int) -> None:
    """Whoever dies between serving and keeping leaves one out: all that follows had to be folded again, every time."""
    log = a_stream(100)
    kept = MemoryCheckpoints(log, 10)
    replay = KeyReplay(SPEED, log, kept, decode, every=10)
    replay.at("anna", log.horizon(AsOf.at_position(100)))
    was = kept.kept.pop(("anna", missing))
    horizon = log.horizon(AsOf.happened(START_MS + 96_000))
    first, again = replay.at("anna", horizon), replay.at("anna", horizon)
    assert first is not None
    assert again is not None
    assert (first.events, again.events) == (97 - missing + 10, 7)
    assert first.state == again.state
    assert kept.kept["anna", missing] == was


def test_a_reader_by_event_time_keeps_no_state_from_which_a_later_event_is_missing() -> None:
    log = MemoryArchive(lambda: END_MS)
    # The fifth of each ten happened an hour after the others.
    for second in range(40):
        ms = START_MS + second * 1_000 + (3_600_000 if second % 10 == 4 and second >= 10 else 0)
        log.append("anna", "GpsPing", ping_data("anna", ms, second), recorded_ms=START_MS + second * 1_000)
    kept = MemoryCheckpoints(log, 10)
    KeyReplay(SPEED, log, kept, decode, every=10).at("anna", log.horizon(AsOf.happened(START_MS + 60_000)))
    assert {place: one.state for place, one in kept.kept.items()} == {("anna", 10): states(log, 10)}


@pytest.mark.parametrize("as_of", [AsOf.at_position(95), AsOf.happened(START_MS + 94_000)], ids=lambda a: a.axis)
def test_too_many_events_are_refused_and_leave_what_was_done_to_the_next_who_asks(as_of: AsOf) -> None:
    log = a_stream(100)
    kept = MemoryCheckpoints(log, 10)
    replay = KeyReplay(SPEED, log, kept, decode, most=40, every=10)
    horizon = log.horizon(as_of)
    for _ in range(2):
        with pytest.raises(TooLong, match="40"):
            replay.at("anna", horizon)
    third = replay.at("anna", horizon)
    assert third is not None
    assert third.state is not None
    assert SPEED.encode(third.state) == states(log, 95)
    with pytest.raises(TooLong):
        KeyReplay(SPEED, log, NoCheckpoints(), decode, most=40, every=10).at(
            "anna", log.horizon(AsOf.happened(START_MS + 90_000))
        )


class CountingArchive(MemoryArchive):
    """Counts the ranges that are read."""

    reads = 0

    def key_range(
        self, stream: str, key: str, after_version: int, upto_version: int, happened_by_ms: int | None
    ) -> list[LoggedEvent]:
        self.reads += 1
        return super().key_range(stream, key, after_version, upto_version, happened_by_ms)


@pytest.mark.parametrize("as_of", [AsOf.at_position(1_000), AsOf.happened(END_MS)], ids=lambda a: a.axis)
def test_what_follows_a_parked_event_is_not_read(as_of: AsOf) -> None:
    log = CountingArchive(lambda: END_MS)
    for second in range(1_000):
        log.append("anna", "GpsPing", ping_data("anna", START_MS + second, second), recorded_ms=START_MS)
    log.damage(3)
    found = KeyReplay(SPEED, log, NoCheckpoints(), decode, every=10).at("anna", log.horizon(as_of))
    assert found is not None
    assert found.parked is not None
    assert found.parked.position == 3
    assert log.reads <= 2


@pytest.mark.parametrize("as_of", [AsOf.at_position(30), AsOf.happened(END_MS)], ids=lambda a: a.axis)
@pytest.mark.parametrize("gone", [1, 4, 10, 15, 29])
def test_a_stream_without_its_beginning_is_folded_from_a_checkpoint_or_not_at_all(as_of: AsOf, gone: int) -> None:
    """The rest alone would give a state that the key never had."""
    log = a_stream(30)
    kept = MemoryCheckpoints(log, 10)
    KeyReplay(SPEED, log, kept, decode, every=10).at("anna", log.horizon(AsOf.at_position(19)))
    log.detach(gone)
    horizon = log.horizon(as_of)
    with pytest.raises(Unresolvable) as caught:
        KeyReplay(SPEED, log, NoCheckpoints(), decode, every=10).at("anna", horizon)
    assert caught.value.code == "log_begins_later"
    with pytest.raises(Unresolvable):
        replay_shard(SPEED, log, decode, log.events[0].shard, horizon)
    replay = KeyReplay(SPEED, log, kept, decode, every=10)
    if gone > 10:
        with pytest.raises(Unresolvable):
            replay.at("anna", horizon)
        return
    found = replay.at("anna", horizon)
    assert found is not None
    assert found.state is not None
    assert SPEED.encode(found.state) == states(log, 30)
    assert replay.at("nobody", horizon) is None


@pytest.mark.parametrize("gone", [1, 4, 15])
def test_what_follows_a_key_event_by_event_begins_where_its_events_do_or_not_at_all(gone: int) -> None:
    """A checkpoint behind what was detached gives the values at the end, but none on the way there."""
    log = a_stream(30)
    kept = MemoryCheckpoints(log)
    kept.keep([Checkpoint("anna", 20, 20, states(log, 20) or b"", log.events[19].payload)], verified=True)
    log.detach(gone)
    early, late = (log.horizon(AsOf.at_position(position)) for position in (22, 30))
    of = (SPEED, log, kept, decode, "anna")
    assert [step.version for step in steps(*of, late, 9, LIMITS)] == list(range(22, 31))
    assert first_difference(*of, early, late) == (23, 23, "right")
    with pytest.raises(Unresolvable, match="detached"):
        list(steps(*of, late, 30, LIMITS))
    with pytest.raises(Unresolvable, match="detached"):
        explain(*of, late)
    with pytest.raises(Unresolvable, match="detached"):
        first_difference(*of, late, log.horizon(AsOf.happened(START_MS + 25_000)))


def test_what_was_discarded_did_not_come_too_late() -> None:
    log, frame = a_stream(30), b"\0\0\0\0\2"
    log.events[:] = [event._replace(payload=frame + event.payload) for event in log.events]
    log.discards.add(7)

    def framed(payload: bytes) -> Any:
        return decode(payload.removeprefix(frame))

    found = explain(SPEED, log, NoCheckpoints(), framed, "anna", log.horizon(AsOf.at_position(30)))
    assert found is not None
    assert ([entry["version"] for entry in found.window], found.too_late) == (list(range(21, 31)), [])


def test_a_key_that_is_parked_on_both_sides_differs_in_nothing_that_came_later() -> None:
    log = a_stream(30)
    log.damage(5)
    early, late = (log.horizon(AsOf.at_position(position)) for position in (20, 30))
    assert first_difference(SPEED, log, NoCheckpoints(), decode, "anna", early, late) is None


class ReadOnly(MemoryCheckpoints):
    """As on a standby."""

    def keep(self, checkpoints: Sequence[Checkpoint], *, verified: bool) -> None:
        raise Away("read-only")


def test_an_answer_does_not_hang_on_what_is_left_for_the_next() -> None:
    log = a_stream(30)
    found = KeyReplay(SPEED, log, ReadOnly(log, 10), decode, every=10).at("anna", log.horizon(AsOf.at_position(30)))
    assert found is not None
    assert found.state is not None
    assert SPEED.encode(found.state) == states(log, 30)


def test_serving_does_not_hang_on_checkpoints() -> None:
    log, inner = a_stream(30), MemorySink()
    sink = CheckpointingSink(inner, ReadOnly(log, 10))
    Filler(SPEED, log, sink, decode, range(SHARDS), Limits(checkpoint_every=10)).run()
    assert inner.all_states() == {"anna": states(log, 30)}


def test_only_what_won_its_compare_and_set_leaves_checkpoints() -> None:
    log = a_stream(30)
    kept = MemoryCheckpoints(log, 10)
    inner = MemorySink()
    sink = CheckpointingSink(inner, kept)

    def lose(writes: Sequence[Any]) -> None:
        inner.before_apply = lambda _: None
        Filler(SPEED, log, inner, decode, range(SHARDS)).run()

    inner.before_apply = lose
    Filler(SPEED, log, sink, decode, range(SHARDS), Limits(checkpoint_every=10)).run()
    assert kept.kept == {}
    assert inner.all_states() == {"anna": states(log, 30)}
