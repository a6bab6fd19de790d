"""Invariant 14 without a server: a log that was restored, and has gone on since, is never taken for what it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.core.fences import FenceMismatch, FenceStatus, classify_fence, digest_of, split_at_gap
from projections.core.ports import Fence, LoggedEvent, LogHead
from projections.core.records import MAX_NUMBER
from projections.live.stream_follower import StreamFollower
from projections.speed import SPEED
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink, ScriptedTopic
from tests.support.worlds.restorable_speed_log import RestorableSpeedLog
from tests.support.worlds.speed_events import expected_states, histories
from tests.unit.rebuild.rebuild_world import World as RebuildWorld

HISTORY = [(f"rider-{number % 3}", number) for number in range(30)]


class World(RestorableSpeedLog):
    """One worker, and a log that can be restored to an older state while it runs."""

    def __init__(self, history: Sequence[tuple[str, int]] = HISTORY) -> None:
        super().__init__(history)
        self.topic = ScriptedTopic()
        self.found: list[FenceMismatch] = []
        self.runner = self.worker()
        self.runner.step(0)

    def worker(self) -> StreamFollower[Any]:
        return StreamFollower(
            SPEED,
            log_port=self.log,
            consumer=self.topic,
            sink=self.sink,
            decode=json.loads,
            partitions=8,
            on_fence_mismatch=self.found.append,
        )

    def settle(self) -> None:
        while self.topic.batches:
            self.runner.step(0)
        for _ in range(3):
            self.runner.idle_check()
            self.runner.step(0)


def an_event(**other: Any) -> LoggedEvent:
    return LoggedEvent(9, 3, 4, "anna", 2, "GpsPing", b"bytes")._replace(**other)


LOG = uuid4()
FENCE = Fence(str(LOG), "one", 4, 9, digest_of(an_event()))


@pytest.mark.parametrize(
    ("fence", "head_seq", "head_position", "found", "trust"),
    [
        (None, 4, 9, an_event(), FenceStatus.NEW),
        (FENCE, 4, 9, an_event(), FenceStatus.GOOD),
        (FENCE, 99, 999, an_event(), FenceStatus.GOOD),
        (FENCE, 3, 999, an_event(), FenceStatus.AHEAD),
        (FENCE, 99, 8, None, FenceStatus.AHEAD),
        (FENCE, 99, 999, an_event(payload=b"others"), FenceStatus.REWRITTEN),
        (FENCE, 99, 999, an_event(shard=5), FenceStatus.REWRITTEN),
        (FENCE, 99, 999, an_event(seq=5), FenceStatus.REWRITTEN),
        (FENCE, 99, 999, an_event(key="ben"), FenceStatus.REWRITTEN),
        # Detached: nothing more can be known than the numbers say.
        (FENCE, 99, 999, None, FenceStatus.GOOD),
        # Written by a version that noted no event.
        (FENCE._replace(event=""), 99, 999, an_event(payload=b"others"), FenceStatus.GOOD),
        (FENCE._replace(log_id=str(uuid4())), 99, 999, an_event(), FenceStatus.FOREIGN),
        # The largest number that a log may have is a number of a log.
        (FENCE._replace(position=MAX_NUMBER), 99, 999, None, FenceStatus.AHEAD),
        (FENCE._replace(position=MAX_NUMBER), 99, MAX_NUMBER, None, FenceStatus.GOOD),
        (FENCE._replace(position=MAX_NUMBER + 1), 99, MAX_NUMBER, None, FenceStatus.IMPOSSIBLE),
    ],
)
def test_a_fence_is_judged_by_the_event_that_it_stands_at(
    fence: Fence | None, head_seq: int, head_position: int, found: LoggedEvent | None, trust: FenceStatus
) -> None:
    assert classify_fence(fence, 3, LogHead(LOG, head_position, [head_seq] * 64), found) is trust


def test_two_records_of_one_seq_that_are_not_the_same_event_contradict() -> None:
    one, same, other = an_event(seq=5), an_event(seq=5), an_event(seq=5, payload=b"others")
    assert not split_at_gap(4, [one, same]).conflicts
    assert split_at_gap(4, [one, other]).conflicts
    assert split_at_gap(4, [one, an_event(seq=6), other, an_event(seq=9)]).conflicts


@pytest.mark.parametrize("restored_to", [0, 1, 17, 29])
@pytest.mark.parametrize("more", [0, 1, 13, 60])
def test_a_worker_that_starts_later_notices_also_when_the_log_has_overtaken_its_fences(
    restored_to: int, more: int
) -> None:
    world = World()
    world.restore(restored_to, [(f"rider-{n % 3}", 100 + n) for n in range(more)])
    world.runner = world.worker()
    world.settle()
    assert world.is_right()
    [found] = world.found
    assert found.why in (FenceStatus.AHEAD, FenceStatus.REWRITTEN)
    assert (found.beyond, found.head) == (30, restored_to + more)


@pytest.mark.parametrize("events", [1, 2])
def test_a_worker_notices_that_the_first_event_of_the_log_is_another(events: int) -> None:
    """Position 1 is compared too: a log that was restored to nothing begins with another event."""
    world = World(HISTORY[:events])
    world.restore(0, [(f"rider-{n % 3}", 100 + n) for n in range(events)])
    world.runner = world.worker()
    world.settle()
    assert world.is_right()
    assert [found.why for found in world.found] == [FenceStatus.REWRITTEN]


def test_a_worker_that_lives_on_notices_without_any_record() -> None:
    world = World()
    world.restore(10)
    world.runner.idle_check()
    assert world.is_right()
    assert world.runner.counters.resets == 3


def test_a_worker_that_lives_on_folds_nothing_onto_what_was_restored_away() -> None:
    world = World()
    # All at once, before any other look: the new 11 to 30 pass for duplicates, the new 31 to 70 for the next ones.
    world.topic.deliver(world.restore(10, [(f"rider-{n % 3}", 100 + n) for n in range(60)]))
    world.runner.step(0)
    world.runner.step(0)
    assert world.is_right()


def test_what_a_zombie_publishes_of_the_lost_events_is_taken_back() -> None:
    world = World()
    lost = world.record([("rider-0", 90), ("rider-0", 91)])
    [kept] = world.restore(30, [("rider-0", 95)])
    world.topic.deliver(lost)
    world.runner.step(0)
    assert not world.is_right()  # it cannot be detected yet
    world.topic.deliver([kept])
    world.settle()
    assert world.is_right()


def test_what_lies_on_the_topic_before_a_worker_came_is_not_folded() -> None:
    """Of another log, or of what a restore has taken back: its seqs fit, and it is polled with the assignment."""
    world = World()
    others = list(world.log.events)
    world.log, world.sink = MemoryLog(), MemorySink()
    world.topic.assigned, world.runner = dict.fromkeys(range(8), 2), world.worker()
    world.topic.deliver(others)
    world.runner.step(0)
    assert world.sink.all_states() == {}


def test_what_waits_on_the_topic_when_a_worker_comes_is_never_polled() -> None:
    """Fails without the seek: the lost events come in a later poll, when the partitions are fresh no more."""
    world = World([("rider-0", n) for n in range(20)])
    lost = world.log.events[10:]
    world.restore(10)
    world.sink = MemorySink()
    # A successor comes; on the topic, the lost events lie before the end.
    world.topic.assigned, world.runner = dict.fromkeys(range(8), 2), world.worker()
    world.topic.batches = [[], [world.topic.record(event) for event in lost]]
    world.runner.step(0)
    news = world.record([("rider-0", 100 + n) for n in range(10)], late_ms=7)
    world.topic.deliver(news)
    world.settle()
    assert world.is_right()
    assert (world.found, world.runner.counters.resets) == ([], 0)


def test_the_end_of_the_topic_is_sought_before_the_log_is_read() -> None:
    """What is recorded between the two is then both in the log and behind the end; the other way round it is lost."""
    world = World()
    world.topic.assigned = dict.fromkeys(range(8), 2)

    def records_one() -> None:
        world.record([("rider-0", 90)])

    world.topic.before_seek = records_one
    world.runner.step(0)
    assert world.is_right()


def test_a_hole_is_not_filled_from_a_log_that_was_restored_meanwhile() -> None:
    world = World([("rider-0", n) for n in range(10)])
    news = world.restore(5, [("rider-0", 100 + n) for n in range(20)])
    world.topic.deliver(news[-1:])  # a gap, and no duplicate before it
    world.runner.step(0)
    world.runner.step(0)
    assert world.is_right()


def test_nothing_is_folded_anew_where_the_log_is_what_it_was() -> None:
    world = World()
    world.topic.deliver(world.log.events)
    world.topic.deliver(world.record([("rider-1", 200)]))
    world.settle()
    assert world.is_right()
    assert (world.found, world.runner.counters.resets) == ([], 0)


@given(histories, st.data())
def test_invariant_14_whatever_comes_of_both_histories_the_log_is_what_counts(
    history: list[tuple[str, int]], data: st.DataObject
) -> None:
    world = World(history)
    before = list(world.log.events)
    position = data.draw(st.integers(0, len(before)))
    more = data.draw(st.lists(st.tuples(st.sampled_from([r for r, _ in history] or ["a"]), st.integers(0, 99))))
    new, old = world.restore(position, more), before[position:]
    # The relay goes on behind its mark, in order; a zombie of it may still publish what it had read.
    while new or old:
        source = data.draw(st.sampled_from([one for one in (new, old) if one]))
        count = data.draw(st.integers(1, len(source)))
        world.topic.deliver(source[:count])
        del source[:count]
        if data.draw(st.booleans()):
            world.topic.batches[-2:] = [[r for batch in world.topic.batches[-2:] for r in batch]]
        if data.draw(st.booleans()):
            world.runner.step(0)
    world.settle()
    assert world.is_right()


def test_a_new_generation_begins_empty_though_its_number_was_used_by_what_a_restore_has_lost() -> None:
    world = RebuildWorld(HISTORY)
    # Left by another fold, up to events that the restored log has too: its fences are good.
    left = world.sinks[2]
    left.held |= world.sinks[1].held
    left.states |= {shard: dict.fromkeys(states, b"of another fold") for shard, states in world.sinks[1].states.items()}
    assert world.rebuild(SPEED).run().verdict == "switched"
    assert world.states() == expected_states(world.log.events)
