"""A clock that is set back while pings arrive, and a track that repeats an earlier one."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.support.worlds.phone import (
    Event,
    alerts_of,
    by_reception,
    leg_ended,
    leg_started,
    names_of,
    ride,
    signals_of,
)


def late(events: list[Event], seconds: float) -> list[Event]:
    """The pings with times ``seconds`` earlier; they are received when they were."""
    return [
        (key, kind, data | {"event_timestamp_ms": data["event_timestamp_ms"] - round(seconds * 1_000)})
        for key, kind, data in events
    ]


def received_at(events: list[Event], second: float) -> list[Event]:
    """The pings, all received at once: a phone that was offline."""
    start = events[0][2]["event_timestamp_ms"]
    at_ms = start + round(second * 1_000)
    return [(key, kind, data | {"received_timestamp_ms": at_ms}) for key, kind, data in events]


def test_a_clock_that_is_set_back_by_two_minutes_is_a_shift() -> None:
    (found,) = signals_of([*ride(0, 300), *late(ride(300, 600, north_m=1_500), 120)])
    assert found.name == "clock_shift"
    measured = dict(found.measured)
    assert measured["shift_seconds"] == pytest.approx(120, abs=1)
    assert measured["lateness_before_seconds"] == pytest.approx(0.2, abs=0.1)
    assert found.evidence


def test_a_shift_alone_is_no_alert() -> None:
    """The rider went on: by the phone's clock he is 600 m farther within 5 s, by the receptions within two minutes."""
    assert alerts_of([*ride(0, 300), *late(ride(300, 600, north_m=1_500), 120), *ride(600, 900, north_m=3_000)]) == {}


def test_a_shift_that_comes_and_goes_with_a_leg_is_an_alert() -> None:
    shifted = late(ride(300, 900, north_m=1_500), 120)
    events = [*ride(0, 300), leg_started(300, 5_000), *shifted, leg_ended(900), *ride(900, 1_200, north_m=4_500)]
    (alert,) = alerts_of(events).values()
    assert {signal.name for signal in alert.signals} >= {"clock_shift", "offset_at_assignment"}


def test_pings_that_were_written_offline_are_exempt() -> None:
    """Ten minutes under ground: the pings arrive at once, with the first that is sent again."""
    offline = received_at(ride(300, 900, north_m=1_500), 605)
    assert names_of(by_reception([*ride(0, 300), *offline, *ride(900, 1_200, north_m=4_500)])) == set()


def test_a_backlog_that_is_sent_little_by_little_is_exempt() -> None:
    """Each minute it is less late."""
    offline = ride(300, 900, north_m=1_500)
    start = offline[0][2]["event_timestamp_ms"]
    slow = [
        (key, kind, data | {"received_timestamp_ms": start + 600_000 + (data["event_timestamp_ms"] - start) // 2})
        for key, kind, data in offline
    ]
    assert "clock_shift" not in names_of(by_reception([*ride(0, 300), *slow]))


@pytest.mark.parametrize("ahead_s", [-200, -100, -3])
def test_a_clock_that_was_ahead_and_is_set_right_is_no_shift(ahead_s: float) -> None:
    assert "clock_shift" not in names_of([*late(ride(0, 300), ahead_s), *ride(300, 900, north_m=1_500)])


def test_a_clock_that_was_always_wrong_is_no_shift() -> None:
    assert names_of(late(ride(0, 900), 3_600)) == set()


def test_a_clock_that_differs_by_half_a_minute_is_no_shift() -> None:
    assert names_of([*ride(0, 300), *late(ride(300, 600, north_m=1_500), 50)]) == set()


# A track that repeats an earlier one

DAY_S = 86_400.0


def town_ride(from_s: float, until_s: float, seed: int) -> list[Event]:
    """A ride through streets: the same streets each day, at another pace and with other noise."""
    chance = random.Random(seed)
    return ride(from_s, until_s, every_s=5, speed=5 + chance.uniform(-0.5, 0.5), seed=seed)


def again(events: list[Event], after_s: float, noise_e7: int = 0) -> list[Event]:
    chance = random.Random(7)

    def moved(data: dict[str, Any]) -> dict[str, Any]:
        changed = {
            name: data[name] + round(after_s * 1_000) for name in ("event_timestamp_ms", "received_timestamp_ms")
        }
        changed |= {name: data[name] + chance.gauss(0, noise_e7) / 1e7 for name in ("latitude", "longitude")}
        prefix = f"{chance.getrandbits(32):08x}"
        return data | changed | {"event_id": prefix + data["event_id"][8:]}

    return [(key, kind, moved(data)) for key, kind, data in events]


def test_a_track_of_yesterday_is_a_repetition() -> None:
    yesterday = town_ride(0, 900, seed=1)
    (found,) = [s for s in signals_of([*yesterday, *again(yesterday, DAY_S)]) if s.name == "repeated_track"]
    measured = dict(found.measured)
    assert measured["offset_seconds"] == DAY_S
    assert int(str(measured["repeated_fixes"])) >= 3
    assert len(found.evidence) == measured["repeated_fixes"]


def test_the_same_street_on_another_day_is_none() -> None:
    days = [event for day in range(10) for event in town_ride(day * DAY_S, day * DAY_S + 1_800, seed=day)]
    assert names_of(days) == set()


def test_a_recording_with_metres_of_noise_is_not_recognised() -> None:
    """The limit of this signal, as docs/fraud.md says."""
    yesterday = town_ride(0, 900, seed=1)
    assert "repeated_track" not in names_of([*yesterday, *again(yesterday, DAY_S, noise_e7=500)])


def test_a_rider_who_waits_at_one_place_each_day_repeats_nothing() -> None:
    waits = [event for day in range(3) for event in again(ride(0, 1_800, speed=0), day * DAY_S)]
    assert names_of(waits) == set()
