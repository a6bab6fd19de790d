"""Invariant 6 for completion: within the kept minutes the order of arrival, repeats and bytes change nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.features.completion.fold import CompletionState
from domain.features.completion.track import KEPT_BLOCKS
from read_models.completion.state import decode, encode
from tests.support.worlds.leg_events import Folded, LegEvent, ended, ping, rest, started

LAST_S = 60 * (KEPT_BLOCKS - 1)
"""Pings of these seconds are all within the kept minutes, whichever comes first."""


def placed(events: list[LegEvent]) -> list[LegEvent]:
    """Each event with the position of its place in the list, as the log would have it."""
    return [(kind, data | {"position": n}) for n, (kind, data) in enumerate(events, start=1)]


def normal(state: CompletionState) -> CompletionState:
    return state._replace(version=0, position=0, results=(), finals=())


near = st.builds(
    lambda second, north, east, accuracy, speed, number: ping(
        second, north, east, accuracy=accuracy, speed=speed, number=number
    ),
    st.integers(0, LAST_S),
    st.sampled_from([0, 0, 0, 20, 39, 41, 90, 140, 200, 700, 3_000]),
    st.sampled_from([0, 0, 5, 60]),
    st.sampled_from([None, 5.0, 30.0, 100.0, 101.0]),
    st.sampled_from([None, 0.0, 0.0, 1.0, 2.0, 6.0]),
    st.integers(0, 2),
)
elsewhere = st.builds(
    lambda every_s, metres, others: [*rest(0, LAST_S, metres, every_s=every_s), *others],
    st.sampled_from([5.0, 10.0, 15.0]),
    st.sampled_from([700, 2_000]),
    st.lists(near, max_size=4),
)
"""A rider who stands far from the target, so that the end of the leg is a case for the desk."""
pings = st.one_of(st.lists(near, max_size=40), elsewhere).map(
    lambda found: list({(one["event_timestamp_ms"], one["event_id"]): (kind, one) for kind, one in found}.values())
)
legs = st.sampled_from(
    [
        [started(0)],
        [started(30)],
        [started(0), started(0, "o-2", target_latitude=52.5125)],
        [started(0), started(20, "o-2", "to_restaurant", target_longitude=13.4105)],
    ]
)
ends = st.sampled_from([[], [ended(60)], [ended(100)], [ended(100, outcome="cancelled")], [ended(5)]])


@given(legs, ends, pings, st.randoms(use_true_random=False))
def test_the_order_of_pings_changes_nothing(
    begun: list[LegEvent], over: list[LegEvent], found: list[LegEvent], chance: Any
) -> None:
    events = placed([*begun, *found])
    before, after = events[: len(begun)], events[len(begun) :]
    shuffled = after.copy()
    chance.shuffle(shuffled)
    cut = chance.randint(0, len(shuffled))
    whole = Folded([*before, *after, *over])
    other = Folded([*before, *shuffled[:cut], *over, *shuffled[cut:]])
    assert normal(other.state) == normal(whole.state)


@given(legs, ends, pings, st.randoms(use_true_random=False))
def test_when_all_is_final_the_results_the_stops_and_the_cases_are_the_same(
    begun: list[LegEvent], over: list[LegEvent], found: list[LegEvent], chance: Any
) -> None:
    later = [ping(800, 3_000, speed=6.0)]
    events = placed([*begun, *found, *later])
    before, after = events[: len(begun)], events[len(begun) : -1]
    shuffled = after.copy()
    chance.shuffle(shuffled)
    # The last ping makes final what has ended.
    whole = Folded([*before, *after, *over, *events[-1:]])
    other = Folded([*before, *over, *shuffled, *events[-1:]])
    assert other.finals == whole.finals
    for key, result in whole.results.items():
        assert other.results[key] == result


@given(legs, pings)
def test_a_ping_twice_changes_nothing(begun: list[LegEvent], found: list[LegEvent]) -> None:
    events = placed([*begun, *found, ended(110)])
    again = [event for event in events for _ in range(1 + (event[0] == "GpsPing"))]
    once, twice = normal(Folded(events).state), normal(Folded(again).state)
    assert twice._replace(inaccurate=0) == once._replace(inaccurate=0)


@given(legs, ends, st.lists(near, max_size=60), st.lists(st.integers(0, 2_000), max_size=8))
def test_a_state_survives_its_bytes_after_each_event(
    begun: list[LegEvent], over: list[LegEvent], found: list[LegEvent], later: list[int]
) -> None:
    events = [*begun, *found, *over, *(ping(second, 3_000 - second, speed=3.0) for second in later)]
    straight = Folded(events)
    state = Folded([]).state
    results: dict[tuple[str, str], Any] = {}
    finals: list[Any] = []
    for event in events:
        step = Folded([event], decode(encode(state)))
        results |= step.results
        finals += step.finals
        state = step.state
    assert (state, results, finals) == (straight.state, straight.results, straight.finals)
    assert decode(encode(state)) == state._replace(results=(), finals=())


def test_a_late_ping_that_breaks_a_rest_takes_the_arrival_back() -> None:
    """A rest of 20 s with a fix in its middle that rides: there was no rest."""
    whole = rest(100, 125)
    without_the_middle = [started(), *whole[:2], *whole[3:]]
    assert Folded(without_the_middle).result().arrived_ms is not None
    assert Folded([*without_the_middle, ping(110.5, 10, speed=5.0)]).result().arrived_ms is None
    # Of each five seconds the first fix that came is kept.
    assert Folded([started(), *whole, ping(110.5, 10, speed=5.0)]).result().arrived_ms is not None
