"""The cost of a ping in the spoofing projection, in process: fold, encode and decode, in µs of CPU."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.results import at_most
from benchmarks.support import report
from benchmarks.traffic_fold import INTERVALS_S, a_ping_us, ride
from benchmarks.traffic_fold import states_of as traffic_states_of
from domain.features.keyed_event import KeyedEvent
from domain.features.spoofing.fold import fold
from domain.features.spoofing.state import EMPTY, SpoofingState
from read_models.fraud.state import decode, encode


def states_of(events: Sequence[KeyedEvent]) -> list[SpoofingState]:
    states = [EMPTY]
    for event in events:
        states.append(fold(states[-1], event))
    return states


def with_speeds(events: Sequence[KeyedEvent]) -> list[KeyedEvent]:
    """The ride of the traffic benchmark, with a device that reports its speed."""
    return [
        event._replace(data={**event.data, "speed_mps": 6.0 + number % 7 / 10, "is_mock": None})
        for number, event in enumerate(events)
    ]


def main() -> None:
    figures: dict[str, float] = {}
    targets = {}
    for interval_s in INTERVALS_S:
        events = with_speeds(ride(interval_s))
        states = states_of(events)
        stored = [encode(state) for state in states]
        name = f"a ping each {interval_s} s"
        folding = a_ping_us(lambda events=events: states_of(events))  # type: ignore[misc]
        encoding = a_ping_us(lambda states=states: [encode(state) for state in states])  # type: ignore[misc]
        figures[f"{name}: fold, us"] = folding
        figures[f"{name}: fold and encode, us"] = folding + encoding
        targets[f"{name}: fold and encode, us"] = at_most(6)
        # Beside it, on the same machine at the same time: a known fold.
        figures[f"{name}: fold of traffic, us"] = a_ping_us(lambda events=events: traffic_states_of(events))  # type: ignore[misc]
        figures[f"{name}: decode, us"] = a_ping_us(lambda stored=stored: [decode(data) for data in stored])  # type: ignore[misc]
        figures[f"{name}: largest state, bytes"] = max(len(data) for data in stored)
    report("spoofing_fold", figures, targets)


if __name__ == "__main__":
    main()
