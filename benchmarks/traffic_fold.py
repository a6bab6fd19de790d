"""The cost of a ping in the traffic projection, in process: fold, encode, partials and decode, in µs of CPU."""

from __future__ import annotations

import math
import random
import time
import timeit
from collections.abc import Callable, Sequence
from itertools import pairwise
from uuid import UUID

from benchmarks.results import at_most
from benchmarks.support import START_MS, report
from domain.features.keyed_event import KeyedEvent
from domain.features.traffic.fold import EMPTY, TrafficState, fold
from domain.features.traffic.partials import partials
from read_models.traffic.state import decode, encode

PINGS = 1_000
REPEATS = 7
INTERVALS_S = (1, 5, 10, 60)
SPEED_MPS = 6.0


def ride(interval_s: int) -> list[KeyedEvent]:
    """A winding ride through many cells and headings."""
    chance = random.Random(1)
    latitude, longitude, heading, metre = 37.77, -122.42, 0.3, 1 / 111_195
    events = []
    for number in range(1, PINGS + 1):
        heading += chance.gauss(0, 0.2)
        latitude += SPEED_MPS * interval_s * metre * math.cos(heading)
        longitude += SPEED_MPS * interval_s * metre * math.sin(heading) / 0.79
        t_ms = START_MS + number * interval_s * 1_000
        data = {
            "latitude": latitude,
            "longitude": longitude,
            "event_timestamp_ms": t_ms,
            "received_timestamp_ms": t_ms + 500,
            "accuracy_meters": 8.0,
            "event_id": str(UUID(int=number)),
        }
        events.append(KeyedEvent("anna", number, number, "GpsPing", data))
    return events


def states_of(events: Sequence[KeyedEvent]) -> list[TrafficState]:
    states = [EMPTY]
    for event in events:
        states.append(fold(states[-1], event))
    return states


def a_ping_us(run: Callable[[], object]) -> float:
    # CPU time: another program on the machine is no cost of the fold.
    return min(timeit.repeat(run, timer=time.process_time, number=1, repeat=REPEATS)) / PINGS * 1e6


def main() -> None:
    figures: dict[str, float] = {}
    targets = {}
    for interval_s in INTERVALS_S:
        events = ride(interval_s)
        states = states_of(events)
        stored = [encode(state) for state in states]
        folding = a_ping_us(lambda events=events: states_of(events))  # type: ignore[misc]
        encoding = a_ping_us(lambda states=states: [encode(state) for state in states])  # type: ignore[misc]
        name = f"a ping each {interval_s} s"
        figures[f"{name}: fold and encode, us"] = folding + encoding
        targets[f"{name}: fold and encode, us"] = at_most(10)
        figures[f"{name}: partials, us"] = a_ping_us(
            lambda states=states: [partials(old, new) for old, new in pairwise(states)]  # type: ignore[misc]
        )
        figures[f"{name}: decode, us"] = a_ping_us(lambda stored=stored: [decode(data) for data in stored])  # type: ignore[misc]
        figures[f"{name}: largest state, bytes"] = max(len(data) for data in stored)
    report("traffic_fold", figures, targets)


if __name__ == "__main__":
    main()
