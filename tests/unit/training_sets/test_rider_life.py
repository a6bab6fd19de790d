"""A rider by event time: at each instant the states and the traffic of a fold of what had happened, in log order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.features.event_time import effective_time_ms
from infrastructure.training_sets import rider_life
from infrastructure.training_sets.rider_life import (
    START,
    EventTimeline,
    FoldOptions,
    RiderState,
    follow_event_time,
    follow_log,
    step,
)
from infrastructure.training_sets.rider_shards import pack_rider, unpack_rider
from projections.core.ports import LoggedEvent
from projections.replay.archive import TimedEvent
from projections.speed import SPEED
from tests.support.worlds.city import CityArchive, drive, ping, rides
from tests.support.worlds.order_lives import OrderHistory

Sums = Counter[tuple[int, int, int, str]]
OPTIONS = FoldOptions(json.loads, frozenset(), frozenset())


def events_of(history: OrderHistory) -> list[TimedEvent]:
    """The events of one rider, each with its own recording time."""
    log = CityArchive("Rider", [("anna", kind, {**data, "rider_id": "anna"}) for _, kind, data in history])
    return [
        TimedEvent(event, json.loads(event.payload)["event_timestamp_ms"], 1_000 * event.position)
        for event in log.events
    ]


def happened(events: Iterable[TimedEvent], by_ms: int) -> list[LoggedEvent]:
    return [one.event for one in events if effective_time_ms(json.loads(one.event.payload)) <= by_ms]


def folded(events: Iterable[LoggedEvent], options: FoldOptions = OPTIONS) -> tuple[RiderState, Sums]:
    state, sums = START, Sums()
    for event in events:
        state, changed = step(state, event, options, True)
        add(sums, changed)
    return state, sums


def add(sums: Sums, changed: Iterable[tuple[int, ...]]) -> None:
    for bucket, cell, octant, *amounts in changed:
        for name, amount in zip(("ms", "mm", "riders"), amounts, strict=True):
            sums[bucket, cell, octant, name] += amount


def without_zeros(sums: Sums) -> dict[object, int]:
    return {key: amount for key, amount in sums.items() if amount}


def check_by_event_time(events: list[TimedEvent], cached: int) -> int:
    """Compare at every event. Returns how often the log was read."""
    reads = 0

    def from_log(clock: int) -> list[LoggedEvent]:
        nonlocal reads
        reads += 1
        return happened(events, clock)

    timeline, sums = EventTimeline(OPTIONS, True, from_log, cached), Sums()
    ordered = sorted(events, key=lambda one: (one.event_ms, one.event.version))
    found = list(follow_event_time(ordered, timeline, json.loads))
    assert [one.clock for one in found] == sorted(one.clock for one in found)
    for n, one in enumerate(found):
        add(sums, one.changes)
        if n + 1 == len(found) or found[n + 1].clock > one.clock:
            state, expected = folded(happened(events, one.clock))
            assert one.state == state
            assert without_zeros(sums) == without_zeros(expected)
    return reads


@settings(max_examples=40)
@given(history=rides, cached=st.sampled_from([1, 3, 1_000]))
@example(history=[*drive("anna", 600, 8, 150, True), *drive("anna", 0, 8, 150, False)], cached=2)
def test_by_event_time_each_instant_is_a_fold_of_what_had_happened(history: OrderHistory, cached: int) -> None:
    check_by_event_time(events_of(history), cached)


def test_an_event_that_was_recorded_before_all_kept_ones_is_folded_from_the_log() -> None:
    history = [*drive("anna", 600, 8, 150, True), *drive("anna", 0, 8, 150, False)]
    assert check_by_event_time(events_of(history), 2) > 0
    assert check_by_event_time(events_of(history), 1_000) == 0


def test_a_ping_of_a_clock_that_is_ahead_happens_at_its_reception() -> None:
    history = drive("anna", 0, 6, 150, north=True)
    kind, name, data = ping("anna", 200, 1_000.0, number=77)
    ahead = {**data, "received_timestamp_ms": data["event_timestamp_ms"] - 150_000}
    assert check_by_event_time(events_of([*history, (kind, name, ahead)]), 1_000) == 0


@settings(max_examples=30)
@given(history=rides, broken=st.integers(0, 40), discarded=st.integers(1, 40))
def test_by_the_log_each_state_is_that_of_a_fold_and_a_broken_event_parks_the_key(
    history: OrderHistory, broken: int, discarded: int
) -> None:
    events = [
        one._replace(event=one.event._replace(payload=b'{"event_timestamp_ms": 1}')) if n == broken else one
        for n, one in enumerate(events_of(history))
    ]
    options = FoldOptions(json.loads, frozenset({discarded}), frozenset())
    found = list(follow_log(events, lambda one: one.recorded_ms, options, lambda: True))
    for n, one in enumerate(found):
        state, _ = folded((each.event for each in events[: n + 1]), options)
        assert one.state == state
    if broken < len(found):
        last = found[-1].state
        assert last.traffic_parked
        assert last.traffic == (found[broken - 1].state.traffic if broken else None)
        assert last.speed_parked == (events[broken].event.position != discarded)


@settings(max_examples=30)
@given(rides)
def test_a_packed_rider_is_the_rider_that_the_stored_bytes_give(history: OrderHistory) -> None:
    state, _ = folded([one.event for one in events_of(history)])
    speed = SPEED.initial if state.speed is None else state.speed
    unpacked = unpack_rider(pack_rider(speed))
    assert repr(unpacked) == repr(SPEED.decode(SPEED.encode(speed)))  # also the classes: fields are read by name


def test_a_rider_that_no_row_needs_costs_no_speed() -> None:
    events = events_of(drive("anna", 0, 5, 150, north=True))
    found = list(follow_log(events, lambda one: one.recorded_ms, OPTIONS, lambda: False))
    assert found[-1].state.speed is None
    assert found[-1].state.traffic is not None
    assert rider_life.START.encoded() is None
