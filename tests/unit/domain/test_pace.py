"""A rider's moving pace: steady at red lights, unknown before the first kilometre, and never infinite."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from domain.features.pace import EMPTY_PACE, PERIOD_MS, SHORTEST_MM, PaceState, pace_s_per_km, step

METRES_A_DEGREE = 111_195.0797
Track = list[tuple[int, float]]


def after(track: Track, state: PaceState = EMPTY_PACE) -> PaceState:
    """The state after fixes at (seconds, metres to the north)."""
    for t_s, north_m in track:
        state = step(state, t_s * 1_000, north_m / METRES_A_DEGREE, 13.4)
    return state


def ride(seconds: int, speed_mps: float, start_s: int = 0, every_s: int = 10) -> Track:
    return [(start_s + t, t * speed_mps) for t in range(0, seconds + 1, every_s)]


def pace(track: Track) -> float | None:
    return pace_s_per_km(after(track))


def test_a_steady_ride() -> None:
    found = pace(ride(600, 5.0))
    assert found is not None
    assert math.isclose(found, 200.0, rel_tol=1e-5)


def test_below_one_kilometre_it_is_unknown() -> None:
    assert pace([]) is None
    assert pace(ride(190, 5.0)) is None
    assert pace(ride(210, 5.0)) is not None


def test_a_red_light_and_a_wait_at_the_restaurant_change_nothing() -> None:
    moving = ride(300, 5.0)
    waiting = [(300 + t, 1_500.0 + (t % 3)) for t in range(10, 1_200, 10)]
    assert pace(moving + waiting) == pace(moving)


def test_a_gap_and_a_jump_change_nothing() -> None:
    moving = ride(300, 5.0)
    assert pace([*moving, (421, 1_600.0)]) == pace(moving)
    assert pace([*moving, (310, 90_000.0)]) == pace(moving)


def test_a_parked_phone_that_sends_each_second_does_not_move() -> None:
    assert after([(t, 3.0 * (t % 2)) for t in range(3_600)])._replace(last=None) == EMPTY_PACE


def test_it_follows_a_rider_who_changes_the_vehicle() -> None:
    slow = ride(7_200, 3.0)
    fast = [(t, 21_600.0 + north) for t, north in ride(10_800, 9.0, start_s=7_210)]
    found = pace(slow + fast)
    assert found is not None
    assert math.isclose(found, 1_000 / 9.0, rel_tol=1e-3)


tracks = st.lists(st.tuples(st.integers(1, 150), st.integers(-400, 1_500)), max_size=120).map(
    lambda steps: [
        (sum(s for s, _ in steps[: n + 1]), float(sum(m for _, m in steps[: n + 1]))) for n in range(len(steps))
    ]
)


@given(tracks)
def test_it_is_unknown_or_within_the_limits_of_movement(track: Track) -> None:
    state = after(track)
    assert 0 <= state.ms < PERIOD_MS
    assert 0 <= state.before_ms < PERIOD_MS + 120_000
    found = pace_s_per_km(state)
    assert (found is None) == (state.mm + state.before_mm < SHORTEST_MM)
    assert found is None or 25.0 <= found <= 1_000.0


@given(tracks, st.integers(0, 120))
def test_a_state_continues_where_it_was_left(track: Track, cut: int) -> None:
    assert after(track[cut:], after(track[:cut])) == after(track)


@given(tracks)
def test_a_fix_twice_changes_nothing(track: Track) -> None:
    assert after([fix for fix in track for _ in range(2)]) == after(track)
