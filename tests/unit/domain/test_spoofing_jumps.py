"""Teleports: what is impossible is a signal, the outlier is blamed, and honest phones with bad fixes are not."""

from __future__ import annotations

import pytest

from domain.features.case_file import Signal
from tests.support.worlds.phone import (
    Event,
    alerts_of,
    id_of,
    leg_ended,
    leg_started,
    names_of,
    ping,
    ride,
    signals_of,
)

BEFORE = ride(0, 60)
FAR_M = 5_000


def away(from_s: float, until_s: float, east_m: float = FAR_M, **changed: float | None) -> list[Event]:
    """At a place to the east of the ride, with the noise of a receiver."""
    count = round((until_s - from_s) / 5)
    return [
        ping(from_s + 5 * n, 300 + n % 3, east_m + n % 2, **({"accuracy": 5.0, **changed}))  # type: ignore[arg-type]
        for n in range(count)
    ]


def teleports(events: list[Event]) -> list[Signal]:
    return [signal for signal in signals_of(events) if signal.name == "teleport"]


def test_three_fixes_at_an_impossible_distance_are_a_teleport() -> None:
    (found,) = teleports([*BEFORE, *away(60, 120)])
    measured = dict(found.measured)
    assert measured["distance_m"] == pytest.approx(FAR_M, abs=20)
    assert measured["lower_bound_m"] == pytest.approx(FAR_M - 2 * 3 * 5, abs=20)
    assert measured["seconds"] == 5
    assert measured["blamed"] == "after"


def test_the_outlier_is_blamed_and_the_honest_return_is_not() -> None:
    back = ride(80, 140, north_m=400)
    (found,) = teleports([*BEFORE, *away(60, 80), *back])
    assert found.evidence == (id_of(60), id_of(65), id_of(70))


def test_one_teleport_alone_is_no_alert() -> None:
    assert alerts_of([*BEFORE, *away(60, 80), *ride(80, 140, north_m=400)]) == {}


@pytest.mark.parametrize("fixes", [1, 2])
def test_one_or_two_wrong_fixes_are_a_receivers_error(fixes: int) -> None:
    wrong = away(60, 60 + 5 * fixes)
    assert names_of([*BEFORE, *wrong, *ride(60 + 5 * fixes, 140, north_m=300)]) == set()


@pytest.mark.parametrize("accuracy", [250.0, 1_127.0])
def test_a_phone_that_says_how_bad_its_fix_is_is_no_teleport(accuracy: float) -> None:
    assert names_of([*BEFORE, *away(60, 120, accuracy=accuracy)]) == set()


@pytest.mark.parametrize(("gap_s", "found"), [(590, True), (600, False), (3_600, False)])
def test_nothing_is_said_across_a_gap_of_ten_minutes(gap_s: int, found: bool) -> None:
    back_s = 55 + gap_s
    events = [*BEFORE, *away(back_s, back_s + 60, east_m=200_000)]
    assert bool(teleports(events)) == found


def test_a_fix_that_was_sent_again_for_a_minute_is_old() -> None:
    """A phone in a tunnel: the rider comes out where he can have ridden to, and not where he was last seen."""
    last = BEFORE[-1][2]
    north_m = (last["latitude"] - 53.35) * 111_195.0
    east_m = (last["longitude"] + 6.26) * 111_195.0 * 0.596952
    stale = [ping(60 + 5 * n, north_m, east_m, speed=last["speed_mps"]) for n in range(20)]
    moving = [ping(60 + 5 * n, north_m + 2 * n, east_m, speed=last["speed_mps"]) for n in range(20)]
    out = away(160, 220, east_m=1_500)
    assert {event[2]["longitude"] for event in stale} == {stale[0][2]["longitude"]}
    assert names_of([*BEFORE, *stale, *out]) == set()
    assert "teleport" in names_of([*BEFORE, *moving, *out])


def test_the_first_fixes_of_a_phone_may_be_of_yesterday() -> None:
    assert names_of([*away(0, 15), *ride(15, 200)]) == set()


def test_a_jump_to_the_target_of_an_open_leg_is_an_alert() -> None:
    target = leg_started(50, 300, FAR_M)
    (alert,) = alerts_of([*BEFORE[:10], target, *BEFORE[10:], *away(60, 120)]).values()
    assert {signal.name for signal in alert.signals} == {"teleport", "jump_to_target"}
    assert (alert.order_id, alert.leg, alert.score) == ("order-1", "to_customer", 70)
    assert alert.signals[0].evidence[0] == id_of(60)


@pytest.mark.parametrize("target_east_m", [FAR_M - 400, FAR_M + 400])
def test_a_jump_to_elsewhere_is_none(target_east_m: float) -> None:
    target = leg_started(50, 300, target_east_m)
    assert alerts_of([*BEFORE[:10], target, *BEFORE[10:], *away(60, 120)]) == {}


def test_an_offset_that_comes_and_goes_with_a_leg_is_an_alert() -> None:
    """Queue jumping: the rider is shown elsewhere from the assignment to the end of the leg."""
    shown = ride(60, 660, north_m=300, east_m=2_000)
    after = ride(660, 720, north_m=3_300)
    events = [*BEFORE, leg_started(62, 4_000), *shown, leg_ended(655), *after]
    (alert,) = alerts_of(events).values()
    assert {signal.name for signal in alert.signals} == {"teleport", "offset_at_assignment"}
    measured = dict(next(signal.measured for signal in alert.signals if signal.name == "offset_at_assignment"))
    assert measured["family"] == "jump"
    assert abs(float(str(measured["after_start_seconds"]))) <= 5
    assert abs(float(str(measured["after_end_seconds"]))) <= 5


@pytest.mark.parametrize(("starts_s", "ends_s"), [(62, 400), (300, 655), (-400, 1_200)])
def test_an_offset_at_another_time_than_a_leg_is_none(starts_s: float, ends_s: float) -> None:
    shown = ride(60, 660, north_m=300, east_m=2_000)
    after = ride(660, 720, north_m=3_300)
    legs = [leg_started(starts_s, 4_000), leg_ended(ends_s)]
    events = sorted([*BEFORE, *shown, *after, *legs], key=lambda event: event[2]["event_timestamp_ms"])
    assert alerts_of(events) == {}
