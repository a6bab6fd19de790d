"""A job whose command was killed fills its generation only for as long as a rebuild fills it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import pytest

from domain.identifiers import SHARDS
from infrastructure.flink.generation_fill import GenerationFill
from infrastructure.process_pool import OnTick
from projections.core.ports import ShardWrite, Sink
from projections.core.retry import RetryPolicy
from projections.core.shard_processor import ProcessorLimits
from projections.rebuild.catch_up import CatchUp
from projections.rebuild.generations import Generation, GenerationState
from projections.speed import SPEED
from tests.support.ports_in_memory.generations import MemoryGenerations
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink
from tests.support.worlds.speed_events import expected_states, ping_data


class World:
    """A log of 60 events, generation 1 that is served, and generation 2 that a rebuild has begun."""

    def __init__(self) -> None:
        self.log, self.sink, self.generations = MemoryLog(), MemorySink(), MemoryGenerations()
        for number in range(60):
            self.log.append(f"rider-{number % 7}", "GpsPing", ping_data(f"rider-{number % 7}", number * 1000, number))
        self.generations.first(SPEED)
        self.new = self.generations.begin(SPEED)
        self.chunks = 0

    def fill(self, after_chunk: Callable[[int], None] = lambda chunk: None) -> bool:
        """Fill generation 2 as a subtask does; ``after_chunk`` gets the number of each chunk that was stored."""

        def shards_filled(sink: Sink, targets: Mapping[int, int], on_tick: OnTick) -> None:
            limits = ProcessorLimits(chunk_positions=10)
            catch_up = CatchUp(SPEED, self.log, sink, json.loads, list(targets), limits)
            catch_up.open(targets)
            while catch_up.step():
                self.chunks += 1
                after_chunk(self.chunks)
                on_tick()

        retry = RetryPolicy(lambda reason: None, sleep=lambda seconds: None)
        targets = dict(enumerate(self.log.head(SPEED.stream).seqs))
        return GenerationFill(self.generations, SPEED, self.new.number, self.sink, retry).run(shards_filled, targets)

    def record(self, state: GenerationState) -> None:
        self.generations.record(self.new, state, None)

    def is_empty(self) -> bool:
        return not self.sink.all_states() and not any(self.sink.fences(range(SHARDS)))


def test_a_generation_that_its_rebuild_fills_is_filled_to_its_targets() -> None:
    world = World()
    assert world.fill()
    assert world.sink.all_states() == expected_states(world.log.events)


@pytest.mark.parametrize("state", ["compared", "ready", "following"])
def test_a_job_that_starts_after_another_rebuild_has_filled_the_generation_writes_nothing(
    state: GenerationState,
) -> None:
    world = World()
    world.record(state)
    assert not world.fill()
    assert world.chunks == 0
    assert world.is_empty()


def test_a_job_writes_no_more_once_readers_were_switched_to_its_generation() -> None:
    world = World()
    live, new = world.generations.all(SPEED.name)

    def switch(live: Generation = live, new: Generation = new) -> None:
        with world.generations.switching(live, new):
            """Another rebuild has filled the generation."""

    assert not world.fill(lambda chunk: switch() if chunk == 2 else None)
    assert world.chunks == 2
    # What it has stored stays: the workers go on from there.
    assert not world.is_empty()


def test_a_job_leaves_nothing_of_a_generation_that_is_dropped_while_it_fills() -> None:
    """The content is deleted after the state is recorded: a subtask may have written in between, and after it."""
    world = World()

    def drop(chunk: int) -> None:
        if chunk == 2:
            world.record("dropped")
            world.sink.drop()

    assert not world.fill(drop)
    assert world.chunks == 2
    assert world.is_empty()


def test_a_job_that_writes_after_the_content_of_its_generation_was_deleted_deletes_it_again() -> None:
    world = World()

    def drop_before_the_write(_writes: Sequence[ShardWrite]) -> None:
        """The subtask has read the state and the fences, and the shard has none: its write succeeds."""
        world.record("dropped")
        world.sink.drop()

    world.sink.before_apply = drop_before_the_write
    wrote: list[bool] = []
    assert not world.fill(lambda chunk: wrote.append(not world.is_empty()))
    assert wrote == [True]
    assert world.is_empty()
