"""What a rebuild stores at each of its steps, and what it takes up again after it was ended there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from domain.identifiers import SHARDS
from projections.core.projection import Projection
from projections.rebuild.comparison import GenerationComparison
from projections.rebuild.generations import Generation
from projections.rebuild.rebuild import Rebuild
from projections.rebuild.rebuild_outcome import RebuildOutcome
from projections.speed import SPEED
from tests.support.ports_in_memory.generations import MemoryGenerations
from tests.support.ports_in_memory.projection_ports import MemorySink
from tests.unit.rebuild.rebuild_world import CHANGED, World

HISTORY = [(f"rider-{number % 5}", number) for number in range(20)]


class Ended(Exception):
    """The process ended before readers were switched."""


class EndsBeforeSwitch(MemoryGenerations):
    """Ends the first rebuild just before its switch."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = True

    @contextmanager
    def switching(self, live: Generation, to: Generation) -> Iterator[None]:
        if self.ends:
            self.ends = False
            raise Ended
        with super().switching(live, to):
            yield


def a_world(generations: MemoryGenerations | None = None) -> World:
    world = World(HISTORY)
    if generations is not None:
        generations.first(SPEED)
        world.generations = generations
    return world


def filled(world: World, projection: Projection[Any]) -> tuple[Rebuild, list[Mapping[int, int]]]:
    """A rebuild, and the targets of each of its fills."""
    rebuild, targets = world.rebuild(projection), []
    fill = rebuild._ports.fill

    def recording(generation: Generation, wanted: Mapping[int, int]) -> None:
        targets.append(wanted)
        fill(generation, wanted)

    return Rebuild(projection, replace(rebuild._ports, fill=recording)), targets


def found_by(outcome: RebuildOutcome) -> GenerationComparison:
    assert outcome.comparison is not None
    return outcome.comparison


def generation(world: World, number: int) -> Generation:
    (found,) = [one for one in world.generations.all("speed") if one.number == number]
    return found


def test_the_first_rebuild_of_a_projection_registers_what_it_serves_as_generation_1() -> None:
    world = a_world()
    world.generations = MemoryGenerations()
    outcome = world.rebuild(SPEED).run()
    assert (outcome.live.number, outcome.new.number, world.serving) == (1, 2, 2)


def test_a_new_generation_is_filled_up_to_the_fences_of_the_live_one() -> None:
    world = a_world()
    live = {shard: fence.seq for shard, fence in enumerate(world.sinks[1].fences(list(range(SHARDS)))) if fence}
    # The live generation has not folded this one yet.
    world.append([("rider-0", 50)])
    rebuild, targets = filled(world, SPEED)
    rebuild.run()
    assert targets == [live]


def test_differences_wait_for_a_person_and_are_accepted_without_another_fill() -> None:
    world = a_world()
    shown = world.rebuild(CHANGED).run()
    assert shown.verdict == "needs acceptance"
    waiting = generation(world, 2)
    assert (waiting.state, waiting.comparison) == ("compared", found_by(shown).document())
    rebuild, targets = filled(world, CHANGED)
    done = rebuild.run(accept=found_by(shown).digest)
    assert targets == []
    assert "resuming with generation 2 (compared)" in world.said
    assert (done.verdict, done.live.number, done.new.number, done.comparison) == ("switched", 1, 2, None)
    assert done.parked == []


@pytest.mark.parametrize("option", ["accept", "live_is_damaged"])
def test_differences_that_are_known_are_accepted_in_the_rebuild_that_finds_them(option: str) -> None:
    """As in a deployment to many installations: the digest was found in the first."""
    projection = SPEED if option == "live_is_damaged" else CHANGED

    def installation() -> World:
        world = a_world()
        if option == "live_is_damaged":
            states = world.sinks[1].states[world.log.events[0].shard]
            states["rider-0"] = states["rider-0"][:-1] + b"\xff"
        return world

    digest = found_by(installation().rebuild(projection).run()).digest
    options: dict[str, Any] = {option: digest}
    world = installation()
    outcome = world.rebuild(projection).run(**options)
    assert (outcome.verdict, world.serving) == ("switched", 2)
    assert found_by(outcome).digest == digest


def test_a_comparison_only_says_whether_the_generations_differ_and_switches_nothing() -> None:
    world = a_world()
    assert world.rebuild(SPEED).run(verify_only=True).verdict == "equal"
    differing = world.rebuild(CHANGED).run(verify_only=True)
    assert differing.verdict == "differs"
    # Not even with the digest: it is compared anew.
    shown = found_by(world.rebuild(CHANGED).run())
    rebuild, targets = filled(world, CHANGED)
    assert rebuild.run(accept=shown.digest, verify_only=True).verdict == "differs"
    assert (len(targets), world.serving) == (1, 1)


def test_a_rebuild_that_ended_before_the_switch_is_switched_without_another_fill() -> None:
    world = a_world(EndsBeforeSwitch())
    with pytest.raises(Ended):
        world.rebuild(SPEED).run()
    ready = generation(world, 2)
    assert ready.state == "ready"
    assert ready.comparison is not None
    assert (ready.comparison["live"], ready.comparison["differing"]) == (1, 0)
    rebuild, targets = filled(world, SPEED)
    done = rebuild.run()
    assert targets == []
    assert "resuming with generation 2 (ready)" in world.said
    assert (done.verdict, done.live.number, done.new.number, world.serving) == ("switched", 1, 2, 2)
    assert (done.comparison, done.parked) == (None, [])


def test_an_accepted_rebuild_that_ended_before_the_switch_is_ready_with_its_comparison() -> None:
    world = a_world(EndsBeforeSwitch())
    shown = world.rebuild(CHANGED).run()
    with pytest.raises(Ended):
        world.rebuild(CHANGED).run(accept=found_by(shown).digest)
    ready = generation(world, 2)
    assert (ready.state, ready.comparison) == ("ready", found_by(shown).document())


def rebuild_with_other_fills(world: World) -> tuple[Rebuild, list[str]]:
    """A rebuild, and what happens to generations in order: ``end N`` of its other fills, ``drop N`` of its content."""
    happened: list[str] = []
    ports = world.rebuild(SPEED)._ports

    def sink_of(number: int) -> MemorySink:
        sink = world.sinks[number]
        drop = type(sink).drop

        def recorded() -> None:
            happened.append(f"drop {number}")
            drop(sink)

        sink.drop = recorded  # type: ignore[method-assign]
        return sink

    def end_other_fills(number: int) -> None:
        happened.append(f"end {number}, readers follow {world.serving}")

    return Rebuild(SPEED, replace(ports, sink_of=sink_of, end_other_fills=end_other_fills)), happened


def test_other_fills_of_a_generation_end_before_readers_are_switched_to_it() -> None:
    rebuild, happened = rebuild_with_other_fills(world := a_world())
    rebuild.run()
    assert happened[-1] == "end 2, readers follow 1"
    assert world.serving == 2


def test_other_fills_of_a_generation_end_before_its_content_is_deleted() -> None:
    world = a_world()
    world.rebuild(CHANGED).run()
    rebuild, happened = rebuild_with_other_fills(world)
    rebuild.drop(2)
    # And again after a kill has left its content
    rebuild.drop(2)
    assert happened == ["end 2, readers follow 1", "drop 2"] * 2
