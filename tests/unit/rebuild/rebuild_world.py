"""A log, its live generation and the ports of a rebuild, in memory; and folds that differ from the live one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from domain.features.keyed_event import KeyedEvent
from domain.features.speed.window import SpeedState
from domain.identifiers import SHARDS
from projections.core.projection import Projection
from projections.core.retry import RetryPolicy
from projections.core.shard_processor import ProcessorLimits
from projections.live.stream_follower import StreamFollower
from projections.rebuild.catch_up import CatchUp
from projections.rebuild.generations import Generation, active
from projections.rebuild.rebuild import Rebuild
from projections.rebuild.rebuild_ports import RebuildPorts
from projections.speed import SPEED
from tests.support.ports_in_memory.generations import MemoryGenerations
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink, ScriptedTopic
from tests.support.worlds.speed_events import ping_data


def wrong_fold(state: SpeedState, event: KeyedEvent) -> SpeedState:
    """A fold with an error that only some keys show: it does not count the pings of some riders."""
    new = SPEED.fold(state, event)
    return new._replace(pings=state.pings) if event.key.endswith(("0", "3", "6", "9")) else new


WRONG = replace(SPEED, fold=wrong_fold)
"""Other code under the same fold version, like a refactoring that changed results."""

CHANGED = replace(WRONG, fold_version=SPEED.fold_version + 1)
"""The same code under a new fold version."""

STEPS = ProcessorLimits(chunk_positions=3)
"""A fill writes many times, so that what ends it may leave a part of the content."""


class World:
    """A log with an active generation 1 of SPEED that a worker keeps up to date."""

    def __init__(self, history: Sequence[tuple[str, int]]) -> None:
        self.log = MemoryLog()
        self.sinks: dict[int, MemorySink] = defaultdict(MemorySink)
        self.generations = MemoryGenerations()
        self.generations.first(SPEED)
        self.append(history)
        self.topic = ScriptedTopic()
        self.worker: StreamFollower[Any] = StreamFollower(
            SPEED, log_port=self.log, consumer=self.topic, sink=self.sinks[1], decode=json.loads, partitions=8
        )
        self.worker.step(0)
        self.said: list[str] = []
        self.while_filling: Callable[[], None] = lambda: None

    def append(self, history: Sequence[tuple[str, int]]) -> None:
        for rider, second in history:
            number = len(self.log.events)
            self.log.append(rider, "GpsPing", ping_data(rider, second * 1000, number))

    def live_load(self, history: Sequence[tuple[str, int]]) -> None:
        """More pings, folded by the live worker."""
        before = len(self.log.events)
        self.append(history)
        self.topic.deliver(self.log.events[before:])
        self.worker.step(0)

    def rebuild(self, projection: Projection[Any]) -> Rebuild:
        retry_policy = RetryPolicy(self.said.append, sleep=lambda _: None)

        def fill(generation: Generation, targets: Mapping[int, int]) -> None:
            sink, shards = self.sinks[generation.number], list(range(SHARDS))
            catch_up = CatchUp(projection, self.log, sink, json.loads, shards, STEPS)

            def attempt() -> None:
                catch_up.open(targets)
                while catch_up.step():
                    pass
                self.while_filling()

            retry_policy.call(attempt)

        ports = RebuildPorts(
            self.generations,
            self.log,
            lambda number: self.sinks[number],
            json.loads,
            fill,
            lambda generation: None,
            retry_policy,
            self.said.append,
        )
        return Rebuild(projection, ports)

    @property
    def serving(self) -> int:
        found = active(self.generations.all("speed"))
        assert found is not None
        return found.number

    def states(self) -> dict[str, bytes]:
        return self.sinks[self.serving].all_states()


HISTORY = [(f"rider-{number % 11}", number) for number in range(90)]
