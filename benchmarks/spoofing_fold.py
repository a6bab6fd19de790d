"""The cost of a ping in the two projections that judge a rider, spoofing and completion, in process, in µs of CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from benchmarks.results import at_most
from benchmarks.support import report
from benchmarks.traffic_fold import INTERVALS_S, a_ping_us, ride
from benchmarks.traffic_fold import states_of as traffic_states_of
from domain.features.completion import fold as completion
from domain.features.completion.fold import CompletionState
from domain.features.keyed_event import KeyedEvent
from domain.features.spoofing.fold import fold
from domain.features.spoofing.state import EMPTY, SpoofingState
from read_models.completion.state import encode as encode_completion
from read_models.fraud.state import decode, encode


def states_of(events: Sequence[KeyedEvent]) -> list[SpoofingState]:
    states = [EMPTY]
    for event in events:
        states.append(fold(states[-1], event))
    return states


def fold_all(
    events: Sequence[KeyedEvent], fold: Callable[[Any, KeyedEvent], Any], state: Any, each: Callable[[Any], object]
) -> None:
    """Fold as a worker does, which keeps only the last state: thousands of kept ones would measure the allocator."""
    for event in events:
        state = fold(state, event)
        each(state)


def additions_s() -> float:
    """CPU seconds of 10^7 additions: the speed of this machine now. Beside other work it is slower."""
    began, total = time.process_time(), 0
    for number in range(10_000_000):
        total += number
    return time.process_time() - began


def with_leg(state: CompletionState, events: Sequence[KeyedEvent]) -> CompletionState:
    """The rider is on the way to a target where the ride ends."""
    first, last = events[0].data, events[-1].data
    leg = {
        "event_timestamp_ms": first["event_timestamp_ms"] - 1,
        "event_id": str(UUID(int=0)),
        "order_id": "order-1",
        "leg": "to_customer",
        "target_latitude": last["latitude"],
        "target_longitude": last["longitude"],
    }
    return completion.fold(state, KeyedEvent("anna", 1, 1, "LegStarted", leg))


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
        en_route = with_leg(completion.EMPTY, events)
        cases: dict[str, tuple[Any, ...]] = {
            "spoofing: fold": (fold, EMPTY, len),
            "spoofing: fold and encode": (fold, EMPTY, encode),
            "completion: fold and encode": (completion.fold, completion.EMPTY, encode_completion),
            "completion on a leg: fold and encode": (completion.fold, en_route, encode_completion),
        }
        for case, of in cases.items():
            figures[f"{name}, {case}, us"] = a_ping_us(lambda events=events, of=of: fold_all(events, *of))  # type: ignore[misc]
        both = figures[f"{name}, spoofing: fold and encode, us"] + figures[f"{name}, {case}, us"]
        figures[f"{name}, both, on a leg, us"] = both
        targets[f"{name}, both, on a leg, us"] = at_most(12)
        # Beside it, on the same machine at the same time: a known fold.
        figures[f"{name}, fold of traffic, us"] = a_ping_us(lambda events=events: traffic_states_of(events))  # type: ignore[misc]
        figures[f"{name}, spoofing: decode, us"] = a_ping_us(lambda stored=stored: [decode(data) for data in stored])  # type: ignore[misc]
        figures[f"{name}, spoofing: largest state, bytes"] = max(len(data) for data in stored)
    figures["10^7 additions, s"] = min(additions_s() for _ in range(3))
    report("spoofing_fold", figures, targets)


if __name__ == "__main__":
    main()
