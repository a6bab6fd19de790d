"""Workers of the locations projection that start and end around a log, a sink and a topic in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from domain.features.keyed_event import KeyedEvent
from domain.features.latest_location import LocationState, fold
from projections.core.ports import LoggedEvent, Sink
from projections.core.projection import Projection
from projections.live.stream_follower import StreamFollower
from projections.locations import LOCATIONS
from read_models.locations.state import values
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink, ScriptedTopic, ServerUnavailable
from tests.support.ports_in_memory.published_topic import PARTITIONS, Published
from tests.support.worlds.locations import compacted, highest
from tests.support.worlds.speed_events import keyed, ping_data

T_MS = 1_790_000_000_000
HISTORY = [(f"rider-{number % 7}", number) for number in range(40)]
"""(rider, second of the event)"""


LEFT_OUT = frozenset({"rider-2", "rider-5"})


def other_fold(state: LocationState, event: KeyedEvent) -> LocationState:
    """Fold every place one degree further north, and none for some riders, as if their pings were not trusted."""
    if event.key in LEFT_OUT:
        return state._replace(version=event.version, position=event.position)
    data = dict(event.data)
    if event.event_type == "GpsPing":
        data["latitude"] += 1.0
    return fold(state, event._replace(data=data))


OTHER = replace(LOCATIONS, fold=other_fold, fold_version=LOCATIONS.fold_version + 1)
"""The projection with another fold, as a later generation may have."""


class World:
    """A log, a sink and a topic. Workers are created, killed and recreated around them."""

    def __init__(self, history: Sequence[tuple[str, int]] = HISTORY) -> None:
        self.log = MemoryLog()
        self.sink = MemorySink()
        self.published = Published()
        self.ping(*history)

    def ping(self, *history: tuple[str, int]) -> list[LoggedEvent]:
        first = len(self.log.events)
        return [
            self.log.append(rider, "GpsPing", ping_data(rider, T_MS + second * 1000, number))
            for number, (rider, second) in enumerate(history, start=first)
        ]

    def worker(self, **options: Any) -> Worker:
        projection: Projection[Any] = options.get("projection", LOCATIONS)
        return Worker(self, self.published.sink(options.pop("sink", self.sink), self.log, **options), projection)

    def is_shown(self, projection: Projection[Any] = LOCATIONS) -> bool:
        expected = folded(self.log.events, projection)
        records = self.published.records()
        return highest(records) == expected and highest(compacted(records)) == expected


class Worker:
    def __init__(self, world: World, sink: Sink, projection: Projection[Any] = LOCATIONS) -> None:
        self.topic = ScriptedTopic(PARTITIONS)
        self.runner: StreamFollower[Any] = StreamFollower(
            projection, log_port=world.log, consumer=self.topic, sink=sink, decode=json.loads, partitions=PARTITIONS
        )

    def reads(self, *events: LoggedEvent) -> None:
        if events:
            self.topic.deliver(events)
        self.runner.step(0)


def folded(events: Sequence[LoggedEvent], projection: Projection[Any] = LOCATIONS) -> dict[str, dict[str, Any]]:
    """The values of every rider, folded from the log."""
    states: dict[str, Any] = {}
    for event in events:
        states[event.key] = projection.fold(states.get(event.key, projection.initial), keyed(event))
    by_rider = {rider: values(rider, state) for rider, state in states.items()}
    return {rider: dict(data) for rider, data in by_rider.items() if data is not None}


def at_call(number: int, act: Callable[[], None]) -> Callable[..., None]:
    """A hook that acts once, at its call with this ``number`` (from 1; 0 means never)."""
    calls = 0

    def hook(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            act()

    return hook


def dies_at(number: int) -> Callable[..., None]:
    """A hook that makes its worker fail, as if it were killed or a server were unavailable."""

    def die() -> None:
        raise ServerUnavailable("killed")

    return at_call(number, die)


def overtaken_by(successor: Worker, world: World, number: int = 1) -> Callable[..., None]:
    """A hook that pauses its worker while another one takes over its shards and continues."""

    def overtake() -> None:
        news = world.ping(("rider-1", 70))
        # The first step may meet a fence conflict; the second reloads the shards.
        successor.reads(*news)
        successor.reads(*news)

    return at_call(number, overtake)
