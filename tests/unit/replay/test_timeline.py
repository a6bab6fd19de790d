"""A key along time has, at every tick, exactly the state of the events that count by then."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.events.contracts import UndecodableError
from projections.catalogue import PROJECTIONS
from projections.core.fold import Fold
from projections.core.ports import LoggedEvent, ParkedEvent
from projections.core.projection import Projection
from projections.replay.archive import TimedEvent
from projections.replay.key_replay import KeyFold
from projections.replay.timeline import happened_states, known_states
from tests.support.ports_in_memory.projection_ports import MemoryLog
from tests.support.worlds.replay_reference import effective_ms
from tests.support.worlds.rider_events import START_MS, rider_histories

KEYED = [p for p in PROJECTIONS.values() if p.view is not None]
every_projection = pytest.mark.parametrize("projection", KEYED, ids=lambda p: p.name)
TICKS = range(START_MS - 5_000, START_MS + 11_000_000, 200_000)
NEVER = 1 << 62

delays = st.lists(st.integers(0, 5_000), min_size=80, max_size=80)


def timed_events(history: list[tuple[str, str, dict[str, Any]]], steps_ms: list[int]) -> list[TimedEvent]:
    """One rider's events, recorded one after the other, each some time after the one before."""
    log, recorded_ms, found = MemoryLog(), START_MS, []
    for (_, event_type, data), step_ms in zip(history, steps_ms, strict=False):
        recorded_ms += step_ms * 20
        found.append(TimedEvent(log.append("anna", event_type, data), data["event_timestamp_ms"], recorded_ms))
    return found


def decode_or_not(payload: bytes) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(payload)
    if data.get("accuracy_meters") == 80.0:
        raise UndecodableError("an accuracy of 80 metres is unreadable here")
    return data


def happened_ms(timed: TimedEvent, decode: Any) -> int:
    """The effective time (invariant 6); the time as sent if the event cannot be decoded."""
    try:
        return effective_ms(decode(timed.event.payload))
    except UndecodableError:
        return timed.event_ms


def folded(projection: Projection[Any], events: list[LoggedEvent], decode: Any, discarded: frozenset[int]) -> Any:
    fold = Fold(projection, decode, lambda: 0, NEVER)
    done = fold.run(events, lambda _: None, (), discarded)
    return done.states.get("anna"), done.parked.get("anna")


@every_projection
@settings(max_examples=60)
@given(history=rider_histories, steps=delays, unreadable=st.booleans(), data=st.data())
def test_on_the_axis_known_a_tick_has_the_events_recorded_by_then(
    projection: Projection[Any], history: Any, steps: list[int], unreadable: bool, data: st.DataObject
) -> None:
    events = timed_events(history, steps)
    decode = decode_or_not if unreadable else json.loads
    discarded = frozenset(data.draw(st.sets(st.integers(1, len(events)), max_size=3)))
    fold = Fold(projection, decode, lambda: 0, NEVER)
    found = dict(known_states(KeyFold(fold, "anna", discarded), iter(events), TICKS))
    for tick in TICKS:
        counts = [timed.event for timed in events if timed.recorded_ms <= tick]
        assert found.get(tick) == folded(projection, counts, decode, discarded)[0], tick


@every_projection
@settings(max_examples=60)
@given(
    history=rider_histories,
    steps=delays,
    unreadable=st.booleans(),
    kept=st.sampled_from([1, 2, 5, 1_000]),
    data=st.data(),
)
def test_on_the_axis_event_a_tick_has_the_events_that_had_happened_by_then_in_log_order(
    projection: Projection[Any], history: Any, steps: list[int], unreadable: bool, kept: int, data: st.DataObject
) -> None:
    events = timed_events(history, steps)
    decode = decode_or_not if unreadable else json.loads
    discarded = frozenset(data.draw(st.sets(st.integers(1, len(events)), max_size=3)))

    def from_log(tick: int) -> tuple[Any, ParkedEvent | None]:
        counts = [e.event for e in events if happened_ms(e, decode) <= tick]
        state, parked = folded(projection, counts, decode, discarded)
        return state, parked

    walk = sorted(events, key=lambda timed: (timed.event_ms, timed.event.version))
    fold = Fold(projection, decode, lambda: 0, NEVER)
    found = dict(happened_states(KeyFold(fold, "anna", discarded), iter(walk), TICKS, from_log, kept))
    for tick in TICKS:
        assert found.get(tick) == from_log(tick)[0], tick
