"""Whatever comes in whatever order, payouts and their adjustments add up to the price over all events."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.worlds.payout_events import (
    LATITUDE,
    Event,
    direct,
    ended,
    folded,
    paid,
    payout_id,
    ping,
    started,
)

_pings = st.builds(
    lambda t, north, accuracy: ping(t, t * 5 + north, accuracy=accuracy),
    st.integers(0, 900),
    st.sampled_from([0, 0, 0, 20, 90, 700]),
    st.sampled_from([None, 5.0, 50.0, 51.0]),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Pings of a quarter of an hour, in any order, among the starts and ends of up to four legs."""
    events = draw(st.lists(_pings, max_size=40, unique_by=lambda e: (e[1]["event_timestamp_ms"], e[1]["event_id"])))
    for n in range(draw(st.integers(0, 4))):
        start, last = sorted((draw(st.integers(0, 600)), draw(st.integers(0, 900))))
        target = draw(st.sampled_from([LATITUDE, LATITUDE + 0.01, LATITUDE + 1]))
        outcome = draw(st.sampled_from(["completed"] * 4 + ["cancelled"]))
        currency = draw(st.sampled_from(["EUR", "EUR", "USD", "ISK"]))
        fields: dict[str, Any] = {
            "target_latitude": target,
            "currency": currency,
            "time_zone": draw(st.sampled_from(_ZONES)),
        }
        begin, end = started(f"o{n}", start + 0.5, **fields), ended(f"o{n}", last + 0.6, outcome=outcome)
        first = draw(st.integers(0, len(events)))
        events.insert(first, begin)
        events.insert(draw(st.integers(first + 1, len(events))), end)
    return events


_ZONES = ["Europe/Berlin", "Pacific/Auckland", "Asia/Tokyo", "Nowhere/Land", ""]


@given(histories())
@settings(max_examples=400)
def test_payout_and_adjustments_add_up_to_the_price_over_all_events(events: list[Event]) -> None:
    _, entries = folded(events)
    expected = {payout_id(order, leg): amount for (order, leg), amount in direct(events).items()}
    assert paid(entries) == expected
    for entry in entries:
        assert sum(item["amount_minor"] for item in json.loads(entry.items)) == entry.amount_minor
        assert entry.kind == "payout" or entry.amount_minor
    assert len({entry.entry_id for entry in entries}) == len(entries)
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))


@given(histories(), st.randoms(use_true_random=False))
def test_invariant_6_the_order_of_pings_changes_no_sum(events: list[Event], chance: Any) -> None:
    places = [n for n, event in enumerate(events) if event[0] == "GpsPing"]
    shuffled = places.copy()
    chance.shuffle(shuffled)
    other = events.copy()
    for place, source in zip(places, shuffled, strict=True):
        other[place] = events[source]
    assert paid(folded(other)[1]) == paid(folded(events)[1])


@given(histories())
def test_pings_twice_change_nothing(events: list[Event]) -> None:
    twice = [each for event in events for each in [event] * (2 if event[0] == "GpsPing" else 1)]
    once = [e._replace(position=0) for e in folded(events)[1]]
    assert [e._replace(position=0) for e in folded(twice)[1]] == once


@given(histories())
def test_a_state_survives_its_bytes_after_each_event(events: list[Event]) -> None:
    state, entries = folded(events)
    again, same = folded(events, through_bytes=True)
    assert (again._replace(entries=()), same) == (state._replace(entries=()), entries)
