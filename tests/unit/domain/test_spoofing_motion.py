"""The device's speed against its positions, readings that are too regular, and the mock flag."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.support.worlds.phone import Event, alerts_of, names_of, ping, ride, signals_of

HISTORY_S = 700
"""Long enough that the phone is known to report its speed."""


def frozen(from_s: float, until_s: float, *, steady: bool = False, speed: float = 5.0) -> list[Event]:
    """One position to the last bit, with the device's speed of a ride, or with one old speed."""
    chance = random.Random(2)
    return [
        ping(from_s + 5 * n, 3_500, speed=speed if steady else speed + chance.gauss(0, 0.3))
        for n in range(round((until_s - from_s) / 5))
    ]


def measured_of(events: list[Event], name: str) -> dict[str, Any]:
    return dict(next(signal.measured for signal in signals_of(events) if signal.name == name))


def test_an_honest_ride_has_no_signal() -> None:
    assert names_of(ride(0, 3_600)) == set()


def test_a_position_that_stands_while_the_device_moves_is_frozen() -> None:
    events = [*ride(0, HISTORY_S), *frozen(HISTORY_S, HISTORY_S + 100), *ride(HISTORY_S + 100, 1_200, north_m=4_000)]
    measured = measured_of(events, "frozen_position")
    assert measured["seconds"] == 95
    assert measured["device_least_m"] == pytest.approx(95 * 5, rel=0.1)


def test_it_is_an_alert_once_the_rider_is_seen_elsewhere() -> None:
    """The fixes before the jump are the evidence: those after it are the honest return."""
    held = frozen(HISTORY_S, HISTORY_S + 100)
    events = [*ride(0, HISTORY_S), *held, *ride(HISTORY_S + 100, 1_000, north_m=4_000)]
    (alert,) = alerts_of(events).values()
    signals = {signal.name: signal for signal in alert.signals}
    assert set(signals) == {"frozen_position", "teleport"}
    assert dict(signals["teleport"].measured)["blamed"] == "before"
    assert set(signals["teleport"].evidence) <= {event[2]["event_id"] for event in held}


def test_an_old_fix_that_is_sent_again_is_not_frozen() -> None:
    """Its speed is as old as its position."""
    held = frozen(HISTORY_S, HISTORY_S + 200, steady=True)
    assert names_of([*ride(0, HISTORY_S), *held, *ride(HISTORY_S + 200, 1_200, north_m=3_600)]) == set()


def test_a_rider_who_waits_is_not_frozen() -> None:
    held = frozen(HISTORY_S, HISTORY_S + 600, speed=0.3)
    assert names_of([*ride(0, HISTORY_S), *held]) == set()


def moved_at_rest(from_s: float, speed: float | None) -> list[Event]:
    """Ten minutes in which the position moves at 5 m/s, and the device says ``speed``."""
    rest = ride(from_s, from_s + 600, north_m=3_500, device=None)
    return [(key, kind, data | {"speed_mps": speed}) for key, kind, data in rest]


@pytest.mark.parametrize("speed", [0.2, 0.0, None])
def test_a_position_that_moves_while_the_device_rests_is_implied_speed(speed: float | None) -> None:
    measured = measured_of([*ride(0, HISTORY_S), *moved_at_rest(HISTORY_S, speed)], "implied_speed")
    assert measured["claims"] == "rest"
    assert measured["displacement_m"] > 4 * measured["device_most_m"]


@pytest.mark.parametrize("speed", [0.0, None])
def test_a_phone_that_often_does_not_know_its_speed_claims_nothing(speed: float | None) -> None:
    """Half of the moving fixes of one phone of MobilityNet say 0."""
    spoken = ride(0, HISTORY_S)
    half = [
        (key, kind, data | {"speed_mps": speed if n % 2 else data["speed_mps"]})
        for n, (key, kind, data) in enumerate(spoken)
    ]
    assert names_of([*half, *moved_at_rest(HISTORY_S, speed)]) == set()


def test_a_phone_that_is_new_claims_nothing() -> None:
    assert names_of(moved_at_rest(0, 0.0)) == set()


def test_positions_that_stand_still_while_the_device_rides_are_implied_speed() -> None:
    chance = random.Random(3)
    near = [
        ping(HISTORY_S + 5 * n, 3_500 + chance.gauss(0, 2), chance.gauss(0, 2), speed=6 + chance.gauss(0, 0.2))
        for n in range(80)
    ]
    assert measured_of([*ride(0, HISTORY_S), *near], "implied_speed")["claims"] == "motion"


def test_readings_that_never_change_while_the_rider_moves_are_constant() -> None:
    steady = [(key, kind, data | {"speed_mps": 4.0}) for key, kind, data in ride(0, 400, speed=4.0)]
    assert names_of(steady) == {"constant_readings"}


def test_steps_that_are_equal_to_the_centimetre_are_regular() -> None:
    line = [ping(5 * n, 20.0 * n, 10.0 * n, speed=4.4 + n % 7 / 10) for n in range(80)]
    assert names_of(line) == {"regular_steps"}


def test_both_are_one_family_and_no_alert() -> None:
    line = [ping(5 * n, 20.0 * n, speed=4.0) for n in range(80)]
    assert names_of(line) == {"constant_readings", "regular_steps"}
    assert alerts_of(line) == {}


def test_a_client_that_calls_its_fixes_mock_gives_a_signal_and_no_alert() -> None:
    mock = [(key, kind, data | {"is_mock": True}) for key, kind, data in ride(0, 60)]
    assert names_of(mock) == {"mock_flag"}
    assert alerts_of(mock) == {}


def test_a_mock_flag_and_regular_steps_are_an_alert() -> None:
    line = [ping(5 * n, 20.0 * n, speed=4.4 + n % 7 / 10, is_mock=True) for n in range(80)]
    (alert,) = alerts_of(line).values()
    assert {signal.name for signal in alert.signals} == {"mock_flag", "regular_steps"}


@pytest.mark.parametrize("flag", [None, False])
def test_two_mock_fixes_or_a_client_without_the_flag_are_no_signal(flag: bool | None) -> None:
    honest = ride(0, 60)
    some = [(key, kind, data | {"is_mock": n in {3, 4} or flag}) for n, (key, kind, data) in enumerate(honest)]
    assert names_of(some) == set()


def test_records_of_older_contracts_have_no_flag() -> None:
    old = [(key, kind, {k: v for k, v in data.items() if k != "is_mock"}) for key, kind, data in ride(0, 60)]
    assert names_of(old) == set()
