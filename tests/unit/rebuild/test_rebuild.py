"""Blue/green rebuild in memory: what may be switched to, what blocks, what a crash or a wipe in the middle changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.features.keyed_event import KeyedEvent
from domain.features.speed.window import SpeedState
from domain.identifiers import SHARDS
from projections.core.ports import ShardWrite
from projections.live.stream_follower import StreamFollower
from projections.rebuild.catch_up import CatchUp
from projections.rebuild.generations import NotSwitched
from projections.rebuild.rebuild_outcome import DigestMismatch, NoGenerationToRollBackTo
from projections.speed import SPEED
from tests.support.ports_in_memory.projection_ports import ServerUnavailable
from tests.support.worlds.speed_events import expected_states, histories
from tests.unit.rebuild.rebuild_world import CHANGED, HISTORY, WRONG, World


def test_a_rebuild_ends_equal_switched_and_correct() -> None:
    world = World(HISTORY)
    outcome = world.rebuild(SPEED).run()
    assert (outcome.verdict, world.serving) == ("switched", 2)
    assert outcome.comparison is not None
    assert (outcome.comparison.keys, outcome.comparison.differing) == (11, 0)
    assert world.states() == expected_states(world.log.events)


def test_events_that_come_during_the_rebuild_are_in_both_and_in_the_comparison() -> None:
    world = World(HISTORY)
    world.while_filling = lambda: world.live_load([("rider-3", 200), ("rider-99", 1)])
    outcome = world.rebuild(SPEED).run()
    assert outcome.verdict == "switched"
    assert outcome.comparison is not None
    assert sum(outcome.comparison.fences.values()) == len(HISTORY) + 2
    assert world.states() == expected_states(world.log.events)


def test_a_wrong_fold_of_the_same_version_is_caught_and_does_not_go_live() -> None:
    world = World(HISTORY)
    outcome = world.rebuild(WRONG).run()
    assert (outcome.verdict, world.serving) == ("blocked", 1)
    assert outcome.comparison is not None
    assert outcome.comparison.differing == 5
    words = [example.words for example in outcome.comparison.examples if example.name == "rider-3"]
    assert words == ["pings: live 8, new 0"]
    # Acceptance does not help: the same version must give the same result.
    assert world.rebuild(WRONG).run(accept=outcome.comparison.digest).verdict == "blocked"
    assert world.serving == 1


def test_a_changed_fold_needs_acceptance_of_exactly_these_differences() -> None:
    world = World(HISTORY)
    shown = world.rebuild(CHANGED).run()
    assert (shown.verdict, world.serving) == ("needs acceptance", 1)
    assert shown.comparison is not None
    with pytest.raises(DigestMismatch, match=shown.comparison.digest):
        world.rebuild(CHANGED).run(accept="0123456789abcdef")
    assert world.serving == 1
    done = world.rebuild(CHANGED).run(accept=shown.comparison.digest)
    assert (done.verdict, world.serving, done.new.number) == ("switched", 2, 2)


def test_the_same_differences_have_the_same_digest() -> None:
    def digest() -> str:
        found = World(HISTORY).rebuild(CHANGED).run().comparison
        assert found is not None
        return found.digest

    assert digest() == digest()


def test_verify_only_switches_nothing_and_keeps_nothing() -> None:
    world = World(HISTORY)
    assert world.rebuild(SPEED).run(verify_only=True).verdict == "equal"
    assert world.rebuild(WRONG).run(verify_only=True).verdict == "differs"
    assert world.serving == 1
    assert [g.number for g in world.generations.all("speed")] == [1]
    assert world.sinks[2].held == {}
    assert world.sinks[3].held == {}


def test_regression_verify_only_keeps_a_generation_that_waits_for_its_switch() -> None:
    """The code that serves verified itself, and dropped what the next version had folded for hours."""
    world = World(HISTORY)
    waiting = world.rebuild(CHANGED).run().new
    held = dict(world.sinks[waiting.number].held)
    assert world.rebuild(SPEED).run(verify_only=True).verdict == "equal"
    assert world.rebuild(CHANGED).run(verify_only=True).verdict == "differs"
    assert [(g.number, g.state) for g in world.generations.all("speed")] == [(1, "following"), (2, "compared")]
    assert world.sinks[waiting.number].held == held


def test_regression_a_ready_generation_that_was_compared_with_another_live_one_is_not_switched_to() -> None:
    world = World(HISTORY)
    assert world.rebuild(SPEED).run().verdict == "switched"
    shown = world.rebuild(CHANGED).run()
    # Accepted, but the serving process lacks the code: it stays ready. Then the old code rolls back to generation 1.
    ready = next(g for g in world.generations.all("speed") if g.number == shown.new.number)
    world.generations.record(ready, "ready", shown.comparison.document() if shown.comparison else None)
    assert world.rebuild(SPEED).roll_back().verdict == "switched"
    again = world.rebuild(CHANGED).run()
    assert (again.verdict, world.serving) == ("needs acceptance", 1)
    assert again.new.number != shown.new.number


def test_a_rollback_is_a_switch_back_and_forth() -> None:
    world = World(HISTORY)
    with pytest.raises(NoGenerationToRollBackTo, match="nothing to go back to"):
        world.rebuild(SPEED).roll_back()
    world.rebuild(SPEED).run()
    world.live_load([("rider-3", 300)])
    assert world.rebuild(SPEED).roll_back().verdict == "switched"
    assert world.serving == 1
    assert world.states() == expected_states(world.log.events)
    world.rebuild(SPEED).roll_back()
    assert world.serving == 2


def test_a_rollback_to_a_generation_of_other_code_is_rejected_with_a_reason() -> None:
    world = World(HISTORY)
    shown = world.rebuild(CHANGED).run().comparison
    assert shown is not None
    world.rebuild(CHANGED).run(accept=shown.digest)
    with pytest.raises(NoGenerationToRollBackTo, match="deploy that code"):
        world.rebuild(CHANGED).roll_back()
    # With its own code it can, and is first caught up with the other one.
    world.append([("rider-1", 500)])
    CatchUp(CHANGED, world.log, world.sinks[2], json.loads, list(range(SHARDS))).run()
    world.rebuild(SPEED).roll_back()
    assert world.serving == 1
    assert world.states() == expected_states(world.log.events)


def test_after_the_next_rebuild_only_two_generations_are_kept() -> None:
    world = World(HISTORY)
    for _ in range(3):
        world.rebuild(SPEED).run()
    assert [g.number for g in world.generations.all("speed")] == [3, 4]
    assert world.sinks[1].held == world.sinks[2].held == {}


def test_a_damaged_live_generation_is_not_replaced_without_acceptance() -> None:
    world = World(HISTORY)
    states = world.sinks[1].states[world.log.events[0].shard]
    states["rider-0"] = states["rider-0"][:-1] + b"\xff"
    outcome = world.rebuild(SPEED).run()
    assert (outcome.verdict, world.serving) == ("blocked", 1)
    assert outcome.comparison is not None
    digest = outcome.comparison.digest
    # --accept is for another fold version. Damage needs its own option, with the digest of exactly these differences.
    assert world.rebuild(SPEED).run(accept=digest).verdict == "blocked"
    world.rebuild(SPEED).run()
    with pytest.raises(DigestMismatch, match=digest):
        world.rebuild(SPEED).run(live_is_damaged="0123456789abcdef")
    assert world.rebuild(SPEED).run(live_is_damaged=digest).verdict == "switched"
    assert world.states() == expected_states(world.log.events)


def test_code_changed_under_the_same_version_is_not_accepted_as_damage() -> None:
    world = World(HISTORY)
    found = world.rebuild(WRONG).run().comparison
    assert found is not None
    assert world.rebuild(WRONG).run(live_is_damaged=found.digest).verdict == "blocked"
    assert world.serving == 1


def test_a_parked_key_is_parked_in_both_and_listed() -> None:
    def failing(state: SpeedState, event: KeyedEvent) -> SpeedState:
        if event.position == 16:
            raise ZeroDivisionError("a fault")
        return SPEED.fold(state, event)

    faulty = replace(SPEED, fold=failing)
    world = World([])
    world.worker = StreamFollower(
        faulty, log_port=world.log, consumer=world.topic, sink=world.sinks[1], decode=json.loads, partitions=8
    )
    world.worker.step(0)
    world.live_load(HISTORY)
    outcome = world.rebuild(faulty).run()
    assert outcome.verdict == "switched"
    assert [(one.key, one.event.position) for one in outcome.parked] == [(world.log.events[15].key, 16)]


def test_a_store_emptied_during_the_rebuild_is_refilled() -> None:
    world = World(HISTORY)
    wiped: list[bool] = []

    def wipe() -> None:
        if not wiped:
            wiped.append(True)
            for number in (1, 2):
                world.sinks[number].drop()
            raise ServerUnavailable("restarted, empty")

    world.while_filling = wipe
    assert world.rebuild(SPEED).run().verdict == "switched"
    assert world.states() == expected_states(world.log.events)
    world.worker.idle_check()
    assert world.sinks[1].all_states() == expected_states(world.log.events)


class Killed(Exception):
    """Simulates a kill -9: nothing after it runs."""


@settings(max_examples=30)
@given(histories, st.lists(st.integers(0, 30), max_size=3), st.sets(st.integers(0, 30), max_size=5))
def test_a_rebuild_killed_anywhere_and_restarted_ends_correct(
    history: list[tuple[str, int]], kills: list[int], unavailable: set[int]
) -> None:
    world = World(history)
    writes_done = 0

    def maybe_killed(writes: Sequence[ShardWrite]) -> None:
        nonlocal writes_done
        writes_done += 1
        if kills and writes_done >= kills[-1]:
            kills.pop()
            raise Killed
        if writes_done in unavailable:
            raise ServerUnavailable("for a moment")

    for number in range(2, 8):
        world.sinks[number].before_apply = maybe_killed
    for _ in range(4):
        try:
            outcome = world.rebuild(SPEED).run()
        except Killed:
            world.live_load([("rider-1", writes_done)])
            continue
        break
    assert (outcome.verdict, world.serving) == ("switched", 2)
    assert world.states() == expected_states(world.log.events)


def test_a_prepared_generation_waits_until_it_is_switched_to_by_its_number() -> None:
    world = World(HISTORY)
    prepared = world.rebuild(SPEED).prepare()
    assert (prepared.verdict, prepared.ready, prepared.new.number, world.serving) == ("equal", True, 2, 1)
    # A second preparation fills nothing: it finds the ready one.
    assert world.rebuild(SPEED).prepare().new.number == 2
    with pytest.raises(NotSwitched, match="no generation 3"):
        world.rebuild(SPEED).switch_to(3)
    with pytest.raises(NotSwitched, match="rebuild first"):
        world.rebuild(SPEED).switch_to(1)
    assert world.rebuild(SPEED).switch_to(2).verdict == "switched"
    assert world.serving == 2
    assert world.states() == expected_states(world.log.events)


def test_a_prepared_generation_with_differences_needs_their_digest() -> None:
    world = World(HISTORY)
    prepared = world.rebuild(CHANGED).prepare()
    assert (prepared.verdict, prepared.ready) == ("needs acceptance", False)
    assert prepared.comparison is not None
    with pytest.raises(NotSwitched, match="accept its differences"):
        world.rebuild(CHANGED).switch_to(2)
    with pytest.raises(DigestMismatch):
        world.rebuild(CHANGED).switch_to(2, "0123456789abcdef")
    assert world.serving == 1
    assert world.rebuild(CHANGED).switch_to(2, prepared.comparison.digest).verdict == "switched"


def test_a_generation_that_was_compared_with_another_live_one_is_not_switched_to_by_its_number() -> None:
    world = World(HISTORY)
    world.rebuild(SPEED).run()
    prepared = world.rebuild(SPEED).prepare().new.number
    world.rebuild(SPEED).roll_back()
    with pytest.raises(NotSwitched, match="compared with another one"):
        world.rebuild(SPEED).switch_to(prepared)
    assert world.serving == 1


def test_a_rollback_to_a_named_generation_goes_to_no_other() -> None:
    world = World(HISTORY)
    world.rebuild(SPEED).run()
    with pytest.raises(NoGenerationToRollBackTo, match="generation 1, not 7"):
        world.rebuild(SPEED).roll_back(7)
    assert world.serving == 2
    assert world.rebuild(SPEED).roll_back(1).verdict == "switched"


def test_only_a_generation_that_is_not_served_is_dropped() -> None:
    world = World(HISTORY)
    world.rebuild(SPEED).run()
    with pytest.raises(NotSwitched, match="readers follow generation 2"):
        world.rebuild(SPEED).drop(2)
    world.rebuild(SPEED).drop(1)
    assert [g.number for g in world.generations.all("speed")] == [2]
    assert world.sinks[1].held == {}
    with pytest.raises(NotSwitched, match="no generation 3"):
        world.rebuild(SPEED).drop(3)


def test_the_content_that_a_killed_drop_has_left_is_dropped_by_its_number() -> None:
    world = World(HISTORY)
    world.rebuild(SPEED).run()
    (old, _) = world.generations.all("speed")
    world.generations.record(old, "dropped", None)
    assert world.sinks[1].held != {}
    world.rebuild(SPEED).drop(1)
    assert world.sinks[1].held == {}
    assert world.serving == 2
