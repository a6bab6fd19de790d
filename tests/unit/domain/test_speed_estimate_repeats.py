"""Fixes that a phone sends again: ten sendings of one fix are one measurement."""

from __future__ import annotations

import pytest

from domain.features.speed.estimate import explain, robust_speed_mps
from tests.support.worlds.rides import INTERVALS_S, ride


@pytest.mark.parametrize("claim", [None, 8.0])
@pytest.mark.parametrize("interval_s", INTERVALS_S)
def test_a_position_repeated_to_the_last_bit_shows_neither_rest_nor_motion(
    interval_s: float, claim: float | None
) -> None:
    """Issue 13, number 18: ten sendings of one fix are one measurement."""
    frozen = ride([0.0] * 10, interval_s, speed_mps=claim)
    assert robust_speed_mps(frozen) is None
    assert [verdict.rejected for verdict in explain(frozen)] == ["repeated"] * 10


@pytest.mark.parametrize("repeats", [1, 2, 3])
@pytest.mark.parametrize("speed_mps", [4.0, 12.0])
def test_a_repeated_fix_is_dated_by_its_first_sending(speed_mps: float, repeats: int) -> None:
    window = ride([speed_mps * 3 * (i - i % (repeats + 1)) for i in range(10)], 3, accuracy_m=3.0)
    assert robust_speed_mps(window) == pytest.approx(speed_mps, abs=0.1)
    verdicts = explain(window)
    assert {verdict.event_id for verdict in verdicts if verdict.weight} <= {
        ping.event_id for i, ping in enumerate(window) if i % (repeats + 1) == 0
    }


def test_the_oldest_position_of_a_full_window_has_no_date_if_the_phone_repeats() -> None:
    """Its first sending has left the window: with the time of the last one, 40 m in 4 s would be 40 m in 1 s."""
    cut = ride([0.0] + [40.0] * 4 + [80.0] * 4 + [120.0], 1, accuracy_m=3.0)
    assert robust_speed_mps(cut) == pytest.approx(10.0, abs=0.3)
    assert explain(cut)[0].rejected == "repeated"
    # Below ten pings the oldest one is the rider's first.
    assert explain(cut[1:])[0].rejected is None


def test_the_speed_of_a_fix_repeated_for_too_long_is_unknown() -> None:
    moving = [8.0 * i for i in range(5)]
    assert robust_speed_mps(ride([*moving, 32.0, 32.0], 4, accuracy_m=3.0)) == pytest.approx(2.0, abs=0.1)
    assert robust_speed_mps(ride([*moving, 32.0, 32.0, 32.0], 4, accuracy_m=3.0)) is None


def test_rest_is_served_where_the_few_fixes_between_repeats_show_it() -> None:
    parked = [0.0, 0.0, 0.2, 0.2, 0.1, 0.1, 0.3, 0.3, 0.2, 0.2]
    assert robust_speed_mps(ride(parked, 1, accuracy_m=10.0)) == 0.0
    # 9 m in 2 s, of 10 m accuracy: a parked phone or a car.
    assert robust_speed_mps(ride([0.0, 0.0, 9.0, 9.0], 1, accuracy_m=10.0)) is None


@pytest.mark.parametrize("fresh", [1, 2, 5])
@pytest.mark.parametrize("claim", [0.65, 1.82])
def test_a_phone_that_wakes_up_is_not_served_its_own_speed(claim: float, fresh: int) -> None:
    """Issue 13, number 18: after hours of rest, a few fixes cannot contradict the speed that the phone reports."""
    asleep = ride([0.5 * i for i in range(10 - fresh)], 30, accuracy_m=10.0)
    awake = ride([10.0 + i % 2 for i in range(fresh)], 1, accuracy_m=10.0, speed_mps=claim)
    hours_ms = 3 * 3_600_000
    window = [
        *asleep,
        *(ping._replace(t_ms=ping.t_ms + hours_ms, event_id=f"{i:x}" * 32) for i, ping in enumerate(awake)),
    ]
    assert robust_speed_mps(window) == (None if fresh == 1 else 0.0)
    # The last position, sent again before the phone has a new one.
    stale = asleep[-1]._replace(t_ms=awake[0].t_ms + hours_ms - 1_000, speed_mps=claim)
    assert robust_speed_mps([*window[1:-fresh], stale, *window[-fresh:]]) in {None, 0.0}
