"""The time by which every fold orders and ages an event (invariant 6)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.event_times import FUTURE_TOLERANCE_MS
from domain.features.completion.track import last_ms
from domain.features.event_time import MAX_AHEAD_MS, MAX_CLOCK_SKEW_MS, effective_time_ms
from domain.features.keyed_event import KeyedEvent
from domain.features.spoofing.fixes import MIN_STEP_MS
from projections.analytics import ANALYTICS
from projections.completion import COMPLETION
from projections.core.projection import Projection
from projections.locations import LOCATIONS
from projections.payouts import PAYOUTS
from projections.speed import SPEED
from projections.spoofing import SPOOFING
from projections.traffic import TRAFFIC
from read_models.view import ViewLimits
from tests.support.worlds.histories import OF_RIDERS
from tests.support.worlds.replay_reference import effective_ms
from tests.support.worlds.rider_events import rider_histories
from tests.support.worlds.speed_events import ping_data

NOW_MS = 1_790_000_000_000
AHEAD_MS = 240_000

every_projection = pytest.mark.parametrize("projection", OF_RIDERS, ids=lambda p: p.name)


@pytest.mark.parametrize(
    ("sent", "received", "effective"),
    [
        (NOW_MS, NOW_MS, NOW_MS),
        (NOW_MS + 2_000, NOW_MS, NOW_MS + 2_000),
        (NOW_MS + 2_001, NOW_MS, NOW_MS),
        (NOW_MS + AHEAD_MS, NOW_MS, NOW_MS),
        (NOW_MS - 86_400_000, NOW_MS, NOW_MS - 86_400_000),
        # Version 1 of the ping has no reception, nor has any other event.
        (NOW_MS + AHEAD_MS, 0, NOW_MS + AHEAD_MS),
        (NOW_MS + AHEAD_MS, None, NOW_MS + AHEAD_MS),
    ],
)
def test_invariant_6_an_event_time_after_its_reception(sent: int, received: int | None, effective: int) -> None:
    record = {"event_timestamp_ms": sent} | ({} if received is None else {"received_timestamp_ms": received})
    assert effective_time_ms(record) == effective
    assert effective_time_ms({"event_timestamp_ms": sent}) == sent


def test_a_search_extends_as_far_ahead_as_ingest_lets_clocks_be() -> None:
    assert MAX_AHEAD_MS == FUTURE_TOLERANCE_MS


@given(st.integers(0, 1 << 50), st.integers(0, 1 << 50))
def test_the_effective_time_is_never_later_than_the_one_sent_nor_than_the_reception_and_its_tolerance(
    sent: int, received: int
) -> None:
    effective = effective_time_ms({"event_timestamp_ms": sent, "received_timestamp_ms": received})
    assert effective <= sent
    if received:
        assert effective <= received + MAX_CLOCK_SKEW_MS
    if sent <= received + FUTURE_TOLERANCE_MS:
        # What ingest accepts: a search by the time as sent need not extend farther.
        assert sent - effective <= MAX_AHEAD_MS


def folded(projection: Projection[Any], records: list[dict[str, Any]]) -> Any:
    state = projection.initial
    for number, data in enumerate(records, start=1):
        state = projection.fold(state, KeyedEvent("anna", number, number, "GpsPing", data))
    return state


def a_minute(ahead_ms: int, first: int = 0) -> list[dict[str, Any]]:
    """A ping every 5 s, 20 m to the north each, by a clock that is ahead; received as it happens."""
    return [
        ping_data(
            "anna",
            NOW_MS + second * 1_000 + ahead_ms,
            second,
            latitude=52.5 + (first + n) * 20 / 111_195,
            longitude=13.4,
            received_timestamp_ms=NOW_MS + second * 1_000,
        )
        for n, second in enumerate(range(first * 5, first * 5 + 60, 5))
    ]


@pytest.mark.parametrize("ahead_ms", [2_001, 60_000, AHEAD_MS, 300_000])
def test_a_clock_ahead_does_not_hide_its_rider(ahead_ms: int) -> None:
    """Issue 13, number 16: the phone gets the right time after a minute, and the rider stays visible."""
    records = [*a_minute(ahead_ms), *a_minute(0, first=12)]
    for count in range(10, len(records) + 1):
        state = folded(SPEED, records[:count])
        at_ms = records[count - 1]["received_timestamp_ms"]
        assert SPEED.view is not None
        row = SPEED.view.row("anna", SPEED.view.features(state), at_ms, ViewLimits(), False)
        assert (row["status"], row["age_ms"], row["pings_in_window"]) == ("fresh", 0, 10)
        assert row["speed_mps"] == pytest.approx(4.0, abs=0.1)
        assert row["path_speed_mps"] == pytest.approx(4.0, abs=0.01)
        assert row["latitude"] == records[count - 1]["latitude"]
        assert row["event_timestamp_ms"] == at_ms
        assert LOCATIONS.view is not None
        located = LOCATIONS.view.row("anna", folded(LOCATIONS, records[:count]), at_ms, ViewLimits(), False)
        assert (located["latitude"], located["age_ms"]) == (records[count - 1]["latitude"], 0)
    settled = folded(ANALYTICS, records)
    assert [fix.t_ms for fix in settled.window] == [data["received_timestamp_ms"] for data in records[-10:]]


def test_within_the_tolerance_an_age_is_zero_and_not_negative() -> None:
    record = ping_data("anna", NOW_MS + 1_900, received_timestamp_ms=NOW_MS)
    assert SPEED.view is not None
    assert LOCATIONS.view is not None
    speed = SPEED.view.row("anna", SPEED.view.features(folded(SPEED, [record])), NOW_MS, ViewLimits(), False)
    location = LOCATIONS.view.row("anna", folded(LOCATIONS, [record]), NOW_MS, ViewLimits(), False)
    assert (speed["age_ms"], speed["status"], speed["event_timestamp_ms"]) == (0, "fresh", NOW_MS + 1_900)
    assert location["age_ms"] == 0


@pytest.mark.parametrize("projection", [SPEED, LOCATIONS, ANALYTICS], ids=lambda p: p.name)
def test_two_pings_that_differ_in_the_time_as_sent_are_two(projection: Projection[Any]) -> None:
    """Their reception and even their event id may be the same: the identity has the time as sent."""
    one, other = (ping_data("anna", NOW_MS + AHEAD_MS + n, received_timestamp_ms=NOW_MS) for n in (0, 1))
    both = folded(projection, [one, other])
    window = both.window if hasattr(both, "window") else (both.latest,)
    assert window[-1].ahead_ms == AHEAD_MS + 1
    if hasattr(both, "window"):
        assert [ping.t_ms for ping in window] == [NOW_MS, NOW_MS]
    # A ping delivered twice changes nothing.
    again = folded(projection, [one, other, one, other])
    assert getattr(again, "window", None) == getattr(both, "window", None)


@every_projection
@given(history=rider_histories, chance=st.randoms(use_true_random=False), cut=st.integers(0, 80))
def test_invariant_6_neither_arrival_nor_repeats_nor_splits_change_what_is_kept_by_effective_time(
    projection: Projection[Any], history: list[Any], chance: Any, cut: int
) -> None:
    records = [data for _, kind, data in history if kind == "GpsPing"]
    distinct = {(data["event_timestamp_ms"], data["event_id"]): data for data in records}
    # Within the window no ping is too late.
    records = list(distinct.values())[:10]
    shuffled = [*records, *(chance.choice(records) for _ in range(3) if records)]
    chance.shuffle(shuffled)
    expected, found = folded(projection, records), folded(projection, shuffled)
    split = projection.initial
    for number, data in enumerate(records, start=1):
        if number == cut:
            split = projection.decode(projection.encode(split))
        split = projection.fold(split, KeyedEvent("anna", number, number, "GpsPing", data))
    assert projection.encode(split) == projection.encode(expected)
    if projection is LOCATIONS:
        assert found.latest == expected.latest
        last = max(records, key=lambda d: (effective_ms(d), d["event_timestamp_ms"], d["event_id"]), default=None)
        assert last is None or expected.latest.t_ms == effective_ms(last)
    elif projection is SPOOFING:
        # Its track is in the order of the log: a ping that is not later is counted. No order turns it back.
        newest_ms = max(map(effective_ms, records), default=None)
        assert newest_ms is None or all(newest_ms - state.last.t_ms < MIN_STEP_MS for state in (expected, found))
    elif projection is COMPLETION:
        # Its fixes have their positions, which differ here: test_completion_order.py compares them whole.
        if not (expected.too_late or found.too_late) and expected.track:
            assert (len(found.track), last_ms(found.track)) == (len(expected.track), last_ms(expected.track))
    elif projection is PAYOUTS:
        assert expected.too_late or found.too_late or found.track == expected.track
    elif projection is TRAFFIC:
        assert expected.too_late or found.too_late or found[3:] == expected[3:]
    else:
        assert found.window == expected.window
        assert [kept.t_ms for kept in found.window] == sorted(kept.t_ms for kept in found.window)
